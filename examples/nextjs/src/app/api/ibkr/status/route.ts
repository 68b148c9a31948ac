import { connection } from "next/server";
import { bridge, owner } from "@/lib/ibkr";

export async function GET(request: Request) {
  await connection(); // otherwise `next build` would run this once and serve what it found
  const session = await bridge.for(owner.profile(request) ?? "").session().catch(() => null);
  return Response.json({ ok: session !== null, gateway: { authenticated: session?.ready ?? false } });
}
