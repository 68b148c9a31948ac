import { admin, owner } from "@/lib/ibkr";

export const POST = admin.route.tokens(owner);
