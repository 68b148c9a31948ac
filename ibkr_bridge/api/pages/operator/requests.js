// The last requests, the latest first, and the repetition of reads.
const MAX_REQUESTS = 200;
const requests = [];
const repeated = new Map();

app.addRequests = (more) => {
  requests.push(...more.filter((each) => !requests.some((known) => known.number === each.number)));
  requests.splice(0, Math.max(0, requests.length - MAX_REQUESTS));
  showRequests();
};

// A stream that begins sends them all, and a bridge that was restarted numbers them anew.
app.forgetRequests = () => {
  requests.length = 0;
  repeated.clear();
};

function showRequests() {
  const e = app.element;
  const onlyFailed = app.byId("only-failed").checked;
  const shown = requests.filter((each) => !onlyFailed || each.status >= 400).reverse();
  app.show(app.byId("requests"), shown.length ? shown.map(requestRow) : e("p", { class: "soft" }, "There is none."));
}

function requestRow(request) {
  const e = app.element;
  const parameters = request.parameters.length ? `?${request.parameters.map((name) => `${name}=…`).join("&")}` : "";
  const outcome = repeated.get(request.number);
  return e("details", { class: "request", "data-key": String(request.number) },
    e("summary", null,
      e("span", { class: "mono" }, app.words.clock(request.at)),
      e("span", { class: "mono" }, `${request.method} ${request.route}${parameters}`),
      e("span", { class: `outcome ${request.status >= 500 ? "critical" : request.status >= 400 ? "warning" : ""}` }, `${request.status}${request.code ? ` ${request.code}` : ""}`),
      e("span", { class: "number" }, app.words.milliseconds(request.ms))),
    e("div", null,
      app.facts(["request id", e("code", null, request.request_id)], ["key", request.key], ["answered by", request.source],
        ["of it at IBKR", request.upstream_ms === null ? "" : app.words.milliseconds(request.upstream_ms)]),
      request.bodies && request.bodies.map((body, index) => body && [e("p", { class: "soft" }, index ? "Response" : "Request"), e("pre", null, body)]),
      request.can_be_repeated && e("p", { class: "actions" }, e("button", { type: "button", onclick: () => repeat(request.number) }, "Send it again")),
      outcome && e("div", { role: "status" }, e("p", null, outcome.text), outcome.body && e("pre", { tabindex: "0", "aria-label": "Response" }, outcome.body))));
}

async function repeat(number) {
  repeated.set(number, { text: "The read is on its way." });
  showRequests();
  try {
    const { status, ms, body } = await app.send("POST", `/page/requests/${number}/repeat`);
    repeated.set(number, { text: `Status ${status} after ${app.words.milliseconds(ms)}.`, body });
  } catch (error) {
    repeated.set(number, { text: `It failed: ${error.message}` });
  }
  showRequests();
}

app.byId("only-failed").addEventListener("change", showRequests);
