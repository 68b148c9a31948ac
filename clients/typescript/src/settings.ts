// The address and the key of the bridge, from the environment of the app's server. Each fault is named.
import { BridgeError } from "./errors.js";

export interface BridgeOptions {
  /** Instead of the variable IBKR_BRIDGE_URL. */
  url?: string;
  /** Instead of the variable IBKR_BRIDGE_KEY. */
  key?: string;
  /** The profile that the calls concern, for the key of an app with several users. */
  profile?: string;
  /** Instead of the global `fetch`. */
  fetch?: typeof fetch;
  /** Seconds for the answer to a read; 85 if left out, which is longer than the bridge itself waits. */
  readSeconds?: number;
  /** Seconds for the answer to an order; 185 if left out. */
  orderSeconds?: number;
}

export interface Access {
  url: string;
  key: string;
}

export type KeyName = "IBKR_BRIDGE_KEY" | "IBKR_BRIDGE_ADMIN_KEY";
const EXAMPLE_KEY = "REPLACE_WITH_REAL_KEY";

/** The address and a key. They are read at each call, so that a build needs neither. */
export function readAccess(options: BridgeOptions, keyName: KeyName): Access {
  if ("window" in globalThis && options.key === undefined) {
    throw fault("createBridge() belongs on the server: in a browser everybody could read the key");
  }
  const environment = "process" in globalThis ? process.env : {};
  return { url: checkUrl(options.url ?? environment["IBKR_BRIDGE_URL"]), key: checkKey(options.key ?? environment[keyName], keyName) };
}

function checkUrl(text: string | undefined): string {
  if (!text) throw fault("IBKR_BRIDGE_URL is missing: write IBKR_BRIDGE_URL=http://127.0.0.1:8000 into .env.local");
  if (!URL.canParse(text) || !/^https?:\/\//.test(text)) {
    throw fault("IBKR_BRIDGE_URL is not an address: write it as http://127.0.0.1:8000");
  }
  if (text.endsWith("/")) throw fault("IBKR_BRIDGE_URL has a slash too many: it ends after the port");
  if (new URL(text).origin !== text.toLowerCase()) {
    throw fault("IBKR_BRIDGE_URL must end after the port, without a path, a name or a query");
  }
  return text;
}

function checkKey(key: string | undefined, name: KeyName): string {
  if (!key) throw fault(`${name} is missing: write the key of the bridge into .env.local, without NEXT_PUBLIC_`);
  if (key === EXAMPLE_KEY) throw fault(`${name} is still the example: write the key that the bridge has`);
  if (/[^!-~]/.test(key)) throw fault(`${name} has a space or a character that no key has: copy it again`);
  if (/^["'].*["']$/.test(key)) throw fault(`${name} has quotes around it: write the key without them`);
  return key;
}

function fault(message: string): BridgeError {
  return new BridgeError({ code: "settings_invalid", message, userMessage: "The trading connection is not set up completely." });
}
