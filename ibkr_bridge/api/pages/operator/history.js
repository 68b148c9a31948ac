// What has happened: the states of the session as strips over the last day and week, and the conditions.
const DAY_MS = 86_400_000;
const LEGEND = [["ready", "ready"], ["between", "opening"], ["down", "not ready"], ["absent", "bridge did not run, or nothing is known"]];

app.showHistory = (history) => {
  const e = app.element;
  const end = Date.parse(history.to);
  app.show(app.byId("history"),
    e("p", null, `This week: ${history.availability.text}.`, history.problem && e("strong", { class: "critical" }, ` The history is not complete: ${history.problem}`)),
    strip(history, end - DAY_MS, end, "The last 24 hours"),
    strip(history, end - 7 * DAY_MS, end, "The last 7 days"),
    e("p", { class: "legend" }, LEGEND.map(([name, text]) => [e("i", { class: name }), text])),
    e("details", { "data-key": "conditions" },
      e("summary", null, e("span", null, `Conditions of this week (${history.conditions.length})`)),
      e("div", null, e("ul", { class: "events" }, [...history.conditions].reverse().slice(0, 200).map(pastCondition)))));
};

function pastCondition(each) {
  const lasted = each.ended ? `lasted ${app.words.span((Date.parse(each.ended) - Date.parse(each.began)) / 1000)}` : "lasts";
  return app.element("li", null, `${app.words.moment(each.began)}, ${lasted}: `, app.element("code", null, each.id), ` ${each.text}`);
}

function strip(history, begin, end, title) {
  const e = app.element;
  const at = (time) => (1000 * (Math.max(begin, Date.parse(time)) - begin)) / (end - begin);
  const spans = history.states.filter((each) => Date.parse(each.ended) >= begin);
  const text = `${title}: ${spans.length ? `${app.words.count(spans.length, "change")} of the session's state` : "nothing is known"}`;
  return [
    e("svg", { class: "strip", viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": text },
      e("rect", { class: "absent", width: 1000, height: 10 }),
      spans.map((each) => e("rect", { class: app.stateClass(each.state), x: at(each.began), width: Math.max(1, at(each.ended) - at(each.began)), height: 10 },
        e("title", null, `${each.state} from ${app.words.moment(each.began)} to ${app.words.moment(each.ended)}`)))),
    e("p", { class: "axis" }, e("span", null, app.words.moment(begin)), e("span", null, title), e("span", null, "now")),
  ];
}
