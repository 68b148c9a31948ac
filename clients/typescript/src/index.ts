// IBKR Bridge from an app's server: typed calls, events, and route handlers for its pages.
export { createAdmin, type Admin } from "./admin.js";
export { createBridge, type Bridge, type HistoryRequest, type OrderOptions } from "./bridge.js";
export type { CallbackOptions, ConnectionHandlers, ConnectionOptions } from "./connection-routes.js";
export { BridgeError, type BridgeErrorCode, type ClientCode } from "./errors.js";
export type { EventOptions } from "./events.js";
export type { ProfileOf, ReadOptions, RouteContext, RouteHandler, RouteHandlers, WriteOptions } from "./routes.js";
export type { BridgeOptions } from "./settings.js";
export type { BridgeEvent, EventChoice, Topic, Topics } from "./topics.js";
export type { CallOptions } from "./transport.js";
export type * from "./types.js";
