import { admin, owner } from "@/lib/ibkr";

export const { GET, POST, DELETE } = admin.route.connection(owner);
