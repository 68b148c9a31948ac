import { bridge, owner } from "@/lib/ibkr";

export const { GET, POST, PATCH, DELETE } = bridge.route.all(owner);
