// Route handlers for the page on which a user of the app connects to IBKR.
//
//     export const { GET, POST, DELETE } = admin.route.connection(user);
//     export const GET = admin.route.callback({ ...user, to: "/connect" });
//
// Whose connection it is, the app's own sign-in decides (`profile`). The key that manages stays on the server.
import type { Admin } from "./admin.js";
import { BridgeError } from "./errors.js";
import { APP_FAULT, json, respond, type ProfileOf, type RouteHandler, type WriteOptions } from "./routes.js";
import type { ConnectionKind } from "./types.js";

export interface ConnectionOptions extends Pick<WriteOptions, "authorize"> {
  /** The profile of the sender, as the app's own sign-in knows it; null if nobody is signed in, who is refused. */
  profile: ProfileOf;
}

export interface CallbackOptions extends ConnectionOptions {
  /** The page to which the user returns, such as `/connect`. A failure is added as the code `?problem=`: see `callbackProblem`. */
  to: string;
}

export interface ConnectionHandlers {
  /** GET shows how far it is, POST `{"kind": …}` begins, DELETE ends. */
  connection(options: ConnectionOptions): Record<"GET" | "POST" | "DELETE", RouteHandler>;
  /** POST stores the tokens that IBKR's page shows. */
  tokens(options: ConnectionOptions): RouteHandler;
  /** POST asks IBKR now whether it accepts them. */
  check(options: ConnectionOptions): RouteHandler;
  /** GET is the callback that a company has registered at IBKR. */
  callback(options: CallbackOptions): RouteHandler;
}

const TOKENS = ["consumer_key", "access_token", "access_token_secret"] as const;

export function connectionHandlers(admin: () => Admin): ConnectionHandlers {
  const handler = (options: ConnectionOptions, work: (name: string, request: Request) => Promise<unknown>): RouteHandler =>
    (request) => respond(request, options, async (name) => json(200, await work(name ?? "", request)));
  return {
    connection: (options) => ({
      GET: handler(options, (name) => admin().connection(name)),
      POST: handler(options, async (name, request) => {
        const [kind] = await textsOf(request, ["kind"]);
        return admin().beginConnection(name, { kind: kind as ConnectionKind });
      }),
      DELETE: handler(options, (name) => admin().endConnection(name)),
    }),
    tokens: (options) => handler(options, async (name, request) => {
      // Only what the page shows: a browser must not replace the keys.
      const [consumer_key, access_token, access_token_secret] = await textsOf(request, TOKENS);
      return admin().importCredential(name, { consumer_key, access_token, access_token_secret } as Record<string, string>);
    }),
    check: (options) => handler(options, (name) => admin().checkCredential(name)),
    callback: (options) => (request) => returnFrom(admin(), request, options),
  };
}

/** The texts of a body, which is an object of JSON. */
async function textsOf(request: Request, names: readonly string[]): Promise<string[]> {
  const body = (await request.json().catch(() => null)) as Record<string, unknown> | null;
  return names.map((name) => {
    const value = body?.[name];
    if (typeof value === "string" && value.trim() !== "") return value.trim();
    throw new BridgeError({ code: "validation_failed", status: 422, message: `${name} is missing`, field: name, userMessage: APP_FAULT });
  });
}

/**
 * Take what IBKR's page sent, and send the browser to the app's page, without the tokens in its address. The browser
 * comes from another site; that the request token was made for this user is checked by the bridge.
 */
async function returnFrom(admin: Admin, request: Request, options: CallbackOptions): Promise<Response> {
  const query = new URL(request.url).searchParams;
  const [oauth_token, oauth_verifier] = [query.get("oauth_token"), query.get("oauth_verifier")];
  let problem = ""; // a code and no words: else an address could make the page say anything
  try {
    const name = (await options.authorize(request)) ? await options.profile(request) : null;
    if (name === null) problem = "not_signed_in";
    else if (!oauth_token || !oauth_verifier) problem = "not_agreed";
    else await admin.verifyConnection(name, { oauth_token, oauth_verifier });
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error;
    problem = error.code;
  }
  const location = problem === "" ? options.to : `${options.to}?${new URLSearchParams({ problem })}`;
  return new Response(null, { status: 303, headers: { Location: location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer" } });
}
