import { bridge, owner } from "@/lib/ibkr";

export const GET = bridge.route.account(owner);
