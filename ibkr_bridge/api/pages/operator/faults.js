// In a demo: the faults of the simulator, and the sign-in.
let faultOutcome = "";

app.showDemo = (demo) => {
  const e = app.element;
  if (!demo.kinds) return;
  const active = new Set(demo.active.map((each) => each.kind));
  app.byId("demo-section").hidden = false;
  app.show(app.byId("demo"),
    e("p", null, "This bridge stands in front of a simulated Gateway: nothing real can happen. Begin a fault, and look at what this page and your app make of it."),
    e("p", { class: "actions" },
      e("button", { type: "button", class: "main", onclick: command("DELETE", "/page/faults", "All faults have ended.") }, "End all faults"),
      e("button", { type: "button", onclick: command("POST", "/page/sign-in", "Somebody has signed in.") }, "Sign in")),
    e("p", { role: "status" }, faultOutcome || (active.size ? `Active: ${[...active].join(", ")}` : "No fault is active.")),
    e("ul", { class: "faults" }, Object.entries(demo.kinds).map(([kind, description]) => e("li", { class: active.has(kind) ? "active" : "", "data-key": kind },
      e("span", null, e("strong", null, kind), e("br"), e("small", null, description)),
      e("button", { type: "button", "aria-label": `Begin ${kind}`, onclick: command("POST", "/page/faults", `${kind} has begun.`, { kind }) }, "Begin")))));
};

const command = (method, path, words, body) => async () => {
  try {
    const answer = await app.send(method, path, body);
    faultOutcome = [words, ...answer.not_restored.map((text) => `Not restored: ${text}.`)].join(" ");
    app.showDemo(answer);
  } catch (error) {
    faultOutcome = error.message;
    app.refresh("demo");
  }
};
