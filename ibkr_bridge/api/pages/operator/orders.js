// Orders in words, each with its journal, and IBKR's questions, which a page with a trade token answers.
const journals = new Map();
const answered = new Map();

app.showOrders = ({ orders, problem, listed_at: listedAt }, mayTrade) => {
  const e = app.element;
  const waiting = problem === "not_read_yet";
  app.show(app.byId("orders"),
    problem && !waiting && e("p", { class: "warning" }, `IBKR's list of orders cannot be read (${problem}): fills and orders made elsewhere may be missing.`),
    listedAt && e("p", { class: "soft" }, `IBKR's list is of ${app.words.clock(listedAt)}.`),
    orders.length ? orders.map((each) => orderRow(each, mayTrade)) : e("p", { class: "soft" }, waiting ? "IBKR's list is being read." : "No order in the last day."));
};

function orderRow(order, mayTrade) {
  const e = app.element;
  const journal = journals.get(order.id);
  return [e("details", { class: "order", "data-key": order.id, ontoggle: (event) => event.target.open && readJournal(order) },
    e("summary", null,
      e("span", { class: "mono" }, order.created ? app.words.clock(order.created) : ""),
      e("span", { class: order.state === "unknown" ? "critical" : "" }, order.words),
      e("span", { class: "soft number" }, order.made_elsewhere ? "made elsewhere" : order.account ?? "")),
    e("div", null,
      app.facts(["id", e("code", null, order.id)], ["account", order.account], ["problem", order.error], ["warnings", order.warnings.join("; ")]),
      order.made_elsewhere || journal === undefined ? null : journal)),
  order.question && questionBox(order, mayTrade)];
}

async function readJournal(order) {
  if (order.made_elsewhere) return;
  const e = app.element;
  try {
    const { events } = await app.send("GET", `/page/orders/${encodeURIComponent(order.id)}`);
    journals.set(order.id, e("ol", { class: "events" }, events.map((each) => e("li", null, eventWords(each)))));
  } catch (error) {
    journals.set(order.id, e("p", { class: "critical" }, `The journal cannot be read: ${error.message}`));
  }
  app.refresh("orders");
}

function eventWords(event) {
  const facts = Object.entries(event).filter(([name, value]) => value !== null && !["at", "what", "state"].includes(name) && String(value) !== "");
  return `${app.words.clock(event.at)} ${event.what.replaceAll("_", " ")}${facts.map(([name, value]) => `, ${name.replaceAll("_", " ")} ${value}`).join("")}`;
}

function questionBox(order, mayTrade) {
  const e = app.element;
  const { question } = order;
  const outcome = answered.get(question.id);
  const answer = (confirm) => async () => {
    answered.set(question.id, "The answer is on its way.");
    app.refresh("orders");
    try {
      await app.send("POST", `/page/orders/${encodeURIComponent(order.id)}/answer`, { confirm, question_id: question.id });
      answered.set(question.id, confirm ? "You answered yes." : "You answered no.");
    } catch (error) {
      answered.set(question.id, error.message);
    }
    app.refresh("orders");
  };
  return e("div", { class: "question", role: "group", "aria-label": "IBKR asks", "data-key": question.id },
    question.texts.map((text) => e("p", null, `IBKR asks: ${text}`)),
    question.expires_at && e("p", { class: "soft" }, `The bridge answers no by itself at ${app.words.clock(question.expires_at)}.`),
    outcome ? e("p", { role: "status" }, outcome) : mayTrade
      ? e("p", { class: "actions" }, e("button", { type: "button", class: "main", onclick: answer(true) }, "Yes, place the order"), e("button", { type: "button", onclick: answer(false) }, "No"))
      : e("p", { class: "soft" }, "This page may only read. `bridge.py open --trade` opens one that can answer."));
}
