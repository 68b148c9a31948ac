import "server-only";
import { createAdmin, createBridge } from "@ibkr-bridge/client";
import { profileOf } from "@/lib/user";

export const bridge = createBridge();
export const admin = createAdmin();
// Only a browser on this machine. An app that others reach checks its own sign-in here.
export const owner = {
  authorize: (request: Request) => /^(localhost|127\.0\.0\.1)(:\d+)?$/.test(request.headers.get("host") ?? ""),
  profile: profileOf,
};
