import { bridge, owner } from "@/lib/ibkr";

export const GET = bridge.route.positions(owner);
