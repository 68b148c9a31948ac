import { admin, owner } from "@/lib/ibkr";

export const GET = admin.route.callback({ ...owner, to: "/connect" });
