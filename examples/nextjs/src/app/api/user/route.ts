import { COOKIE, userOf } from "@/lib/user";

// Your app has a sign-in instead.
export async function POST(request: Request) {
  const user = userOf(String((await request.formData()).get("user")));
  const cookie = `${COOKIE}=${user}; Path=/; HttpOnly; SameSite=Lax`;
  return new Response(null, { status: 303, headers: { Location: "/", "Set-Cookie": cookie } });
}
