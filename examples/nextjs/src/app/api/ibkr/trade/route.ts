import { bridge, owner } from "@/lib/ibkr";

export const POST = bridge.route.place(owner);
