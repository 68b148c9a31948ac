// Why a user is not connected who comes back from IBKR's page, in words for the user.
const PROBLEMS: Readonly<Record<string, string>> = {
  not_signed_in: "Nobody is signed in to this app.",
  not_agreed: "Interactive Brokers was not connected: you did not agree.",
  request_token_unknown: "This sign-in is over, or was begun by somebody else. Begin it again.",
};
const OTHERWISE = "Interactive Brokers was not connected. Begin again.";

/** The words for the code that `admin.route.callback()` adds to the page's address; null if it added none. */
export const callbackProblem = (code: string | null): string | null =>
  code === null ? null : Object.hasOwn(PROBLEMS, code) ? (PROBLEMS[code] ?? OTHERWISE) : OTHERWISE;
