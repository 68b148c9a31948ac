import { callRoute } from "@ibkr-bridge/client/react";

export const ROUTES = "/api/ibkr";

/** Calls one of the app's routes of the connection. */
export const callConnection = <Answer,>(path: string, method: string, body?: unknown): Promise<Answer> =>
  callRoute<Answer>(`${ROUTES}/connection${path}`, { method, body: body === undefined ? null : JSON.stringify(body) });
