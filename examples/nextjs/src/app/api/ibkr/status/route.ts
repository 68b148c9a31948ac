import { connection } from "next/server";
import { bridge } from "@/lib/ibkr";

export async function GET() {
  await connection(); // otherwise `next build` would run this once and serve what it found
  const session = await bridge.session().catch(() => null);
  return Response.json({ ok: session !== null, gateway: { authenticated: session?.ready ?? false } });
}
