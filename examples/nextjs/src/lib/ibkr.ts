import "server-only";
import { createBridge } from "@ibkr-bridge/client";

export const bridge = createBridge();
// Only a browser on this machine. An app that others reach checks its own sign-in here.
export const owner = {
  authorize: (request: Request) => /^(localhost|127\.0\.0\.1)(:\d+)?$/.test(request.headers.get("host") ?? ""),
};
