// Trade the token of the address for a cookie, then show what the stream brings.
const latest = {};
const SHOW = {
  bridge: showBridge,
  status: app.showStatus,
  orders: (orders) => app.showOrders(orders, latest.bridge?.may_trade ?? false),
  requests: ({ requests: more }) => app.addRequests(more),
  traffic: app.showTraffic,
  history: app.showHistory,
  demo: app.showDemo,
};
const SILENT_AFTER_MS = 5000;
const REASONS = {
  token_expired: "The token of this page has expired.",
  key_rotated: "The key of the bridge was replaced.",
};
let heardAt = 0;
let source = null;

// Show a part again, after something that the reader did.
app.refresh = (name) => latest[name] && SHOW[name](latest[name]);

function showBridge(bridge) {
  const e = app.element;
  app.show(app.byId("badges"),
    e("span", { class: "badge" }, `profile ${bridge.profile}`),
    e("span", { class: `badge ${bridge.mode}` }, bridge.mode === "live" ? "live: real money" : bridge.mode),
    bridge.is_demo && e("span", { class: "badge" }, "demo"),
    e("span", { class: "badge" }, bridge.may_trade ? "this page may answer questions" : "this page only reads"));
  app.show(app.byId("footer"), `IBKR Bridge ${bridge.version}. This page works until ${app.words.moment(bridge.access_ends)}.`);
}

function askForToken(reason) {
  source?.close();
  source = null;
  app.byId("content").hidden = true;
  app.byId("access").hidden = false;
  document.title = "IBKR Bridge";
  app.show(app.byId("access-reason"), reason);
  app.show(app.byId("connection"), "");
}

function connect(refusal) {
  source = new EventSource("/page/events");
  source.onopen = () => { // a stream that was opened again begins anew
    app.byId("access").hidden = true;
    app.forgetRequests();
  };
  source.onerror = () => {
    if (source?.readyState === EventSource.CLOSED) askForToken(refusal);
  };
  for (const name of Object.keys(SHOW)) source.addEventListener(name, (event) => show(name, JSON.parse(event.data)));
  source.addEventListener("end", (event) => {
    const { reason } = JSON.parse(event.data);
    if (REASONS[reason]) askForToken(REASONS[reason]); // any other end, such as a restart, is followed by a new stream
  });
}

function show(name, content) {
  heardAt = Date.now();
  latest[name] = content;
  app.byId("content").hidden = false;
  SHOW[name](content);
  showConnection();
}

function showConnection() {
  if (!source) return;
  const isSilent = heardAt > 0 && Date.now() - heardAt > SILENT_AFTER_MS;
  document.body.classList.toggle("stale", isSilent);
  const words = isSilent ? `No word from the bridge since ${app.words.clock(heardAt)}: what you see is old.` : heardAt ? "live" : "connecting";
  app.show(app.byId("connection"), app.element("span", { class: isSilent ? "critical" : "good" }, words));
}

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", "/"); // it must not stay in the address bar
    const answer = await fetch("/page/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
    if (answer && !answer.ok) return connect("The token of this address is not valid any more: it works once."); // a cookie may be there
  }
  connect("There is no token, or it is not valid any more.");
}

setInterval(showConnection, 1000);
addEventListener("hashchange", start);
start();
