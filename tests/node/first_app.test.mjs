// The code of docs/first-app.md against a real bridge in front of a simulated Gateway.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { answer, buy } from "./build/actions.js";
import { GET } from "./build/app_route.js";
import { reloaded } from "./build/next_cache.js";
import Page from "./build/page.js";
import { startDemo } from "./demo.mjs";

let demo;

before(async () => {
  demo = await startDemo();
  Object.assign(process.env, demo.env);
});

after(() => demo.stop());

// Press a button of the form on the page that has a question.
async function press(page, value) {
  const form = new FormData();
  for (const name of ["order", "question"]) form.set(name, new RegExp(`name="${name}" value="([^"]+)"`).exec(page)[1]);
  form.set("answer", value);
  await answer(form);
}

test("the page shows positions and a button", async () => {
  const page = await Page();

  assert.match(page, /<li>100 AAPL<\/li>/);
  assert.match(page, /<form action="buy"><button>Buy one AAPL<\/button><\/form>/);
});

test("a question stays on the page until it is answered", async () => {
  await buy();
  const asked = await Page();
  const again = await Page();
  await press(asked, "yes");
  const answered = await Page();

  assert.match(asked, /buy 1 AAPL: question<form action="answer"><p>.*Are you sure.*<\/p>/s);
  assert.match(again, /Place it/);
  assert.match(answered, /buy 1 AAPL: working/);
  assert.doesNotMatch(answered, /Place it/);
  assert.deepEqual(reloaded, ["/", "/"]);
});

test("after a no, nothing is placed", async () => {
  await buy();
  await press(await Page(), "no");

  assert.match(await Page(), /buy 1 AAPL: not_placed/);
});

test("the route hands on the positions", async () => {
  const reply = await GET(new Request("http://localhost:3000/api/positions"));
  const { positions } = await reply.json();

  assert.equal(reply.status, 200);
  assert.ok(positions.some((each) => each.symbol === "AAPL"));
});

test("a lost login is a sentence on the page", async () => {
  await demo.trigger("sso-lost");
  let page = "";
  for (const end = Date.now() + 20_000; Date.now() < end && !page.includes("Sign in"); ) page = await Page();

  assert.equal(page, "<p>Nobody is signed in at Interactive Brokers. Sign in to go on.</p>");
});
