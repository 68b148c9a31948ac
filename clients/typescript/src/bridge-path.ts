// Where the hooks find the app's routes of the bridge.
import { createContext } from "react";

/** Where the app has the routes of the bridge. */
export const BridgePath = createContext("/api/bridge");
