// Profiles and their connections to IBKR, with the key that manages: IBKR_BRIDGE_ADMIN_KEY. It reaches no account.
import { connectionHandlers, type ConnectionHandlers } from "./connection-routes.js";
import type { BridgeOptions } from "./settings.js";
import { Transport, type Call, type CallOptions } from "./transport.js";
import type {
  CheckedCredential, Connection, ConsumerMembers, CredentialMembers, ImportedCredential, MadeProfile, MadeProfileKey,
  NewConnection, NewProfile, ProfileList, ReturnedVerifier,
} from "./types.js";

export interface Admin {
  profiles(options?: CallOptions): Promise<ProfileList>;
  /** Make a profile. With `app_key`, an app's key reaches it from now on, so that a new user needs no restart. */
  createProfile(profile: NewProfile, options?: CallOptions): Promise<MadeProfile>;
  /** Remove a profile, its credential and its keys. The journal of its orders stays. */
  forgetProfile(name: string, options?: CallOptions): Promise<{ name: string }>;
  addKey(name: string, scope: "read" | "trade", options?: CallOptions): Promise<MadeProfileKey>;
  /** How far a user is who connects to IBKR, and what he should do. */
  connection(name: string, options?: CallOptions): Promise<Connection>;
  beginConnection(name: string, connection: NewConnection, options?: CallOptions): Promise<Connection>;
  /** What the callback received from IBKR's page. It works once, and only for the profile that began. */
  verifyConnection(name: string, returned: ReturnedVerifier, options?: CallOptions): Promise<Connection>;
  /** Sign out, and remove the credential. */
  endConnection(name: string, options?: CallOptions): Promise<Connection>;
  /** Store the tokens of IBKR's page, or a whole credential. */
  importCredential(name: string, members: CredentialMembers, options?: CallOptions): Promise<ImportedCredential>;
  /** Ask IBKR now whether it accepts the credential. */
  checkCredential(name: string, options?: CallOptions): Promise<CheckedCredential>;
  /** Store the keys of a company, with which its users connect. */
  saveConsumer(members: ConsumerMembers, options?: CallOptions): Promise<{ stored: boolean }>;
  forgetConsumer(options?: CallOptions): Promise<{ stored: boolean }>;
  /** Route handlers for the page on which a user connects. */
  readonly route: ConnectionHandlers;
}

/** The bridge at IBKR_BRIDGE_URL, with the key IBKR_BRIDGE_ADMIN_KEY. Both are read at the first call. */
export function createAdmin(options: Omit<BridgeOptions, "profile"> = {}): Admin {
  const calls = adminCalls(new Transport(options, "IBKR_BRIDGE_ADMIN_KEY"));
  const admin: Admin = Object.assign(calls, { route: connectionHandlers(() => admin) });
  return admin;
}

function adminCalls(transport: Transport): Omit<Admin, "route"> {
  const send = <Answer>(method: Call["method"], path: string, body: unknown, options: CallOptions = {}): Promise<Answer> =>
    transport.send<Answer>({ method, path, body, signal: options.signal, wait: options.wait });
  const of = (name: string, part = ""): string => `/profiles/${encodeURIComponent(name)}${part}`;
  return {
    profiles: (options) => send("GET", "/profiles", undefined, options),
    createProfile: (profile, options) => send("POST", "/profiles", profile, options),
    forgetProfile: (name, options) => send("DELETE", of(name), undefined, options),
    addKey: (name, scope, options) => send("POST", of(name, "/keys"), { scope }, options),
    connection: (name, options) => send("GET", of(name, "/connection"), undefined, options),
    beginConnection: (name, connection, options) => send("POST", of(name, "/connection"), connection, options),
    verifyConnection: (name, returned, options) => send("POST", of(name, "/connection/verifier"), returned, options),
    endConnection: (name, options) => send("DELETE", of(name, "/connection"), undefined, options),
    importCredential: (name, members, options) => send("POST", of(name, "/credential"), members, options),
    checkCredential: (name, options) => send("POST", of(name, "/check"), undefined, options),
    saveConsumer: (members, options) => send("PUT", "/consumer", members, options),
    forgetConsumer: (options) => send("DELETE", "/consumer", undefined, options),
  };
}
