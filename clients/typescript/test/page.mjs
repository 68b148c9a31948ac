// A page of an app for tests: a DOM, React, and the routes of the app with prepared answers.
import { Window } from "happy-dom";

const window = new Window({ url: "http://localhost:3000" });
const globals = { window, document: window.document, navigator: window.navigator, IS_REACT_ACT_ENVIRONMENT: true };
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true }); // later versions of Node have a navigator
}
export const React = await import("react");
export const hooks = await import("../dist/react.js");
const { createRoot } = await import("react-dom/client");

/** The answers of the app, such as `answers.set("GET /api/bridge/session", () => Response.json(…))`. */
export const answers = new Map();
/** The requests that the page has sent. */
export const requests = [];
let root;

/** The real `fetch`, for a test that has a bridge. */
export const nodeFetch = globalThis.fetch;
globalThis.fetch = async (path, init) => {
  requests.push({ path, ...init });
  return answers.get(`${init?.method ?? "GET"} ${path}`)();
};

/** Open the page, with nothing on it. A second call is a reload. */
export async function openPage() {
  await closePage();
  answers.clear();
  requests.length = 0;
  root = createRoot(document.createElement("div"));
}

export async function closePage() {
  await React.act(async () => root?.unmount());
  root = undefined;
}

/** Show a component, and return what its hook returns. */
export async function show(useHook, { isStrict = false } = {}) {
  const shown = { renders: 0 };
  const Page = () => {
    shown.current = useHook();
    shown.renders++;
    return null;
  };
  const page = React.createElement(Page);
  await React.act(async () => root.render(isStrict ? React.createElement(React.StrictMode, null, page) : page));
  return shown;
}

/** Hide the page, as another tab in front of it does, or show it again. */
export async function setHidden(isHidden) {
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  await React.act(async () => document.dispatchEvent(new window.Event("visibilitychange")));
}

/** Wait until a condition holds. */
export async function until(condition) {
  for (let turn = 0; turn < 2000; turn++) {
    if (condition()) return;
    await React.act(() => new Promise((resolve) => setTimeout(resolve, 10)));
  }
  throw new Error(`it never came true: ${condition}`);
}

/** Wait so long that a poll every 20 ms would have been sent. */
export const pause = () => React.act(() => new Promise((resolve) => setTimeout(resolve, 100)));

/** The number of timers of the process that are active. */
export const timerCount = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
