"use strict";
// Elements, and how what is on the page is brought to what it should be without losing the reader's place.
const app = {};

// An element. Attributes whose value is false or null are left out; functions become handlers.
app.element = (name, attributes, ...children) => {
  const namespace = ["svg", "rect", "title"].includes(name) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const made = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") made[key] = value;
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
};

const HANDLERS = ["onclick", "onchange", "oninput", "ontoggle"];

// Bring the children of an element to the given ones. Nodes of the same kind are kept, so the focus and what is open
// stay where they are; elements with the attribute data-key are found again by it.
app.show = (parent, ...children) => {
  const wanted = app.element("div", null, ...children);
  matchChildren(parent, wanted);
};

function matchChildren(parent, wanted) {
  const keyed = new Map([...parent.children].filter((each) => each.dataset?.key).map((each) => [each.dataset.key, each]));
  let at = parent.firstChild;
  for (const next of [...wanted.childNodes]) {
    const key = next.dataset?.key;
    const kept = key ? keyed.get(key) : at;
    if (kept && isSameKind(kept, next)) {
      if (kept === at) at = at.nextSibling;
      else parent.insertBefore(kept, at);
      matchNode(kept, next);
    } else {
      parent.insertBefore(next, at);
    }
  }
  while (at) {
    const following = at.nextSibling;
    at.remove();
    at = following;
  }
}

const isSameKind = (one, other) => one.nodeName === other.nodeName && one.dataset?.key === other.dataset?.key;

function matchNode(kept, next) {
  if (kept.nodeType === Node.TEXT_NODE) {
    if (kept.nodeValue !== next.nodeValue) kept.nodeValue = next.nodeValue;
    return;
  }
  for (const { name, value } of next.attributes) if (kept.getAttribute(name) !== value) kept.setAttribute(name, value);
  for (const { name } of [...kept.attributes]) {
    if (!next.hasAttribute(name) && name !== "open") kept.removeAttribute(name); // a reader opens and closes details
  }
  for (const handler of HANDLERS) kept[handler] = next[handler];
  if (!kept.hasAttribute("data-own")) matchChildren(kept, next); // its children were fetched when it was opened
}

app.byId = (id) => document.getElementById(id);

// A list of names and texts; rows without a text are left out.
app.facts = (...rows) => app.element("dl", null,
  rows.filter(([, text]) => text !== null && text !== undefined && text !== "")
    .map(([name, text]) => [app.element("dt", null, name), app.element("dd", null, text)]));

// Send a command to the bridge. Returns its answer; an error has the words of the bridge.
app.send = async (method, path, body) => {
  const response = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error([answer.detail, answer.hint].filter(Boolean).join(": ") || `status ${response.status}`);
  return answer;
};
