// Charts of the last hour, drawn by uPlot. A text beside them says the same of the last minutes.
const HOUR_S = 3600;
const charts = {};
let latestTraffic = null;

app.showTraffic = (traffic) => {
  latestTraffic = traffic;
  const rows = everyInterval(traffic);
  const times = rows.map((each) => each.at);
  draw("rates", [times, rows.map((each) => each.requests), rows.map((each) => each.failed)], [["requests", "--link"], ["failed", "--down"]]);
  draw("delays", [times, rows.map((each) => each.p50_ms), rows.map((each) => each.p95_ms)], [["half take at most", "--link"], ["95 % take at most", "--between"]]);
  app.show(app.byId("traffic-text"), inWords(rows, traffic.interval_s));
};

// A row for each interval of the last hour: those without a request have no sample.
function everyInterval({ interval_s: step, samples }) {
  const byTime = new Map(samples.map((each) => [Math.round(each.at / step), each]));
  const last = Math.floor(Date.now() / 1000 / step) - 1;
  return Array.from({ length: HOUR_S / step }, (_, index) => last - HOUR_S / step + 1 + index)
    .map((number) => byTime.get(number) ?? { at: number * step, requests: 0, failed: 0, p50_ms: null, p95_ms: null });
}

function inWords(rows, step) {
  const lately = rows.slice(-300 / step);
  const sum = (name) => lately.reduce((total, each) => total + each[name], 0);
  const slowest = Math.max(0, ...lately.map((each) => each.p95_ms ?? 0));
  if (!sum("requests")) return "No request in the last five minutes.";
  return `In the last five minutes: ${app.words.count(sum("requests"), "request")}, ${sum("failed")} failed, 95 % took at most ${app.words.milliseconds(slowest)}.`;
}

function draw(id, data, series) {
  const parent = app.byId(id);
  if (charts[id]) return charts[id].setData(data);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
  const hours = (_, ticks) => ticks.map((each) => app.words.clock(each * 1000).slice(0, 5));
  charts[id] = new uPlot({
    width: Math.max(240, parent.clientWidth), height: 170, cursor: { y: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(1, high ?? 1)] } },
    axes: [{ ...axis, values: hours }, { ...axis, size: 48 }],
    series: [{ value: (_, at) => at === null ? "–" : app.words.clock(at * 1000) },
      ...series.map(([label, name]) => ({ label, stroke: color(name), width: 1.5, points: { show: false }, spanGaps: false }))],
  }, data, parent);
  for (const canvas of parent.querySelectorAll("canvas")) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-labelledby", `${id}-caption traffic-text`);
  }
}

function redraw() {
  for (const id of Object.keys(charts)) {
    charts[id].destroy();
    delete charts[id];
  }
  if (latestTraffic) app.showTraffic(latestTraffic);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return; // on a phone the bar of the browser comes and goes
  width = innerWidth;
  redraw();
});
