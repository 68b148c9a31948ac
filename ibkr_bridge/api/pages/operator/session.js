// Conditions, session, limits and streams: all from the status.
app.showStatus = (status) => {
  app.show(app.byId("conditions"), conditionsOf(status));
  app.show(app.byId("session"), sessionOf(status));
  app.show(app.byId("limits"), limitsOf(status));
  app.show(app.byId("streams"), streamsOf(status));
  const worst = status.conditions[0];
  document.title = worst && worst.severity !== "notice" ? `!! ${worst.id} – IBKR Bridge` : `${status.state} – IBKR Bridge`;
};

function conditionsOf(status) {
  const e = app.element;
  if (!status.conditions.length) return e("p", { class: "good" }, "Nothing: all is well.");
  return status.conditions.map((each) => e("div", { class: `condition ${each.severity}`, "data-key": each.id + each.profile },
    e("p", { class: "what" }, `${each.severity}: ${each.text}`),
    e("p", null, `To do: ${each.do}`, each.url && [" ", e("a", { href: each.url, rel: "noreferrer", target: "_blank" }, each.url)]),
    each.tunnel && e("p", null, "From another computer, first run ", e("code", null, each.tunnel), ` and then open https://localhost:${new URL(each.url).port}.`),
    e("p", { class: "soft" }, `${each.id}, since ${app.words.moment(each.since)}`)));
}

function sessionOf(status) {
  const { clock, moment, span } = app.words;
  const since = (Date.parse(status.now) - Date.parse(status.since)) / 1000;
  return [
    app.element("p", { class: `state ${status.state === "ready" ? "good" : "critical"}` }, app.stateWords[status.state] ?? status.state),
    app.facts(
      ["since", `${moment(status.since)} (${span(since)})`],
      ["reason", status.reason === status.state ? "" : status.reason],
      ["what to do", status.state === "ready" ? "" : status.hint],
      ["IBKR says", status.ibkr_message],
      ["happens next", status.next],
      ["last check", status.checked && clock(status.checked)],
      ["accounts", status.accounts.map((each) => `${each.account} (${each.kind})`).join(", ")],
      ["login", status.login ? `IBKR ends it ${moment(status.next_reset)}` : "nobody is signed in"],
      ["maintenance", status.maintenance_until && `until ${moment(status.maintenance_until)}`],
      ["trading", status.read_only ? "read-only: every change is refused" : status.paused ? `paused by ${status.paused.by}` : "allowed"],
      ["restart needed", status.restart_needed.join(", ")],
      ["Gateway", status.gateway]),
  ];
}

function limitsOf(status) {
  const { slots, waiting, budget, penalty, cache, journal } = status;
  const { count, span } = app.words;
  const closed = Object.entries(penalty.endpoints).map(([path, seconds]) => `${path} for ${span(seconds)}`).join(", ");
  const queues = Object.entries(waiting).filter(([, number]) => number).map(([name, number]) => `${number} ${name}`).join(", ");
  return app.facts(
    ["calls inside", `${slots.taken} of ${slots.total} slots of the Gateway`],
    ["ghost calls", slots.ghost_calls ? `${count(slots.ghost_calls, "call")} that IBKR never answered, each in a slot` : "none"],
    ["waiting", queues || "nobody"],
    ["calls a second", budget ? `${budget.used} of ${budget.limit} used` : "not limited"],
    ["penalty box", penalty.box_s ? app.element("strong", { class: "critical" }, `IBKR refuses everything for another ${span(penalty.box_s)}`) : "no"],
    ["closed calls", closed || "none"],
    ["cache", cache.hit_rate === null ? "not used yet" : `${Math.round(cache.hit_rate * 100)} % of ${count(cache.lookups, "read")} answered from it`],
    ["journal", journal.problem ? app.element("strong", { class: "critical" }, `cannot be written: ${journal.problem}`) : "can be written"]);
}

function streamsOf(status) {
  const { stream, now } = status;
  const since = app.words.span((Date.parse(now) - Date.parse(stream.since)) / 1000);
  return app.facts(
    ["from IBKR", stream.up ? `up for ${since}` : app.element("strong", { class: "critical" }, `down for ${since}: ${stream.reason}`)],
    ["subscribers", `${app.words.count(stream.readers, "stream")} of apps${stream.behind ? `, ${stream.behind} behind` : ""}`],
    ["topics", `${stream.topics}${stream.silent_topics ? `, ${stream.silent_topics} not answered by IBKR` : ""}`],
    ["quotes", `${stream.quotes} of 100 contracts`]);
}
