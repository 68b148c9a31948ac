// A stand-in for the sign-in of your app: a cookie names the user, and whoever opens this example may choose one.
export const COOKIE = "user";
export const USERS = { anna: { name: "Anna", profile: "main" }, ben: { name: "Ben", profile: "ben" } } as const;
export type User = keyof typeof USERS;

export const userOf = (text: string | undefined): User => (text === "ben" ? "ben" : "anna");

/** The profile of the bridge that belongs to the sender. An app answers null if nobody is signed in. */
export function profileOf(request: Request): string | null {
  const cookie = new RegExp(`(?:^|; )${COOKIE}=(\\w+)`).exec(request.headers.get("cookie") ?? "");
  return USERS[userOf(cookie?.[1])].profile;
}
