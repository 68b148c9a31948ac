import { cookies } from "next/headers";
import { FreshPage } from "@/components/fresh-page";
import { COOKIE, USERS, userOf } from "@/lib/user";

/** Chooses the user. Each choice loads a new page, so that nothing of another user stays in it. */
export async function UserSwitch() {
  const current = userOf((await cookies()).get(COOKIE)?.value);
  return (
    <nav>
      <form method="post" action="/api/user" aria-label="User">
        {Object.entries(USERS).map(([user, { name }]) => (
          <button key={user} name="user" value={user} aria-pressed={user === current}>{name}</button>
        ))}
        <small>instead of a sign-in</small>
      </form>
      <a href="/">Trade</a>
      <a href="/connect">Connect IBKR</a>
      <FreshPage />
    </nav>
  );
}
