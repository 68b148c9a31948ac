// A `fetch` that answers with prepared responses, in order, and remembers the requests.
export function scripted(...answers) {
  const requests = [];
  const fetch = async (url, init) => {
    requests.push({ url, ...init });
    const answer = answers.shift();
    if (answer === undefined) throw new Error("no further answer is prepared");
    return typeof answer === "function" ? answer(init) : answer;
  };
  return { fetch, requests };
}

export const ACCESS = { url: "http://127.0.0.1:8000", key: "k".repeat(40) };
export const problem = (status, code, headers = {}, more = {}) =>
  Response.json({ code, status, detail: "what happened", hint: "for developers", user_message: "For users.", request_id: "r1",
    field: null, order_id: null, action: { kind: "none", url: null }, ...more }, { status, headers });
export const refused = () => Promise.reject(Object.assign(new TypeError("fetch failed"), { cause: { code: "ECONNREFUSED" } }));
export const broken = () => Promise.reject(Object.assign(new TypeError("fetch failed"), { cause: { code: "ECONNRESET" } }));

// The error that some work ends with; work that succeeds fails the test.
export async function errorOf(work) {
  return work.then(() => { throw new Error("it succeeded"); }, (error) => error);
}

// A text/event-stream that sends these pieces and ends.
export const eventStream = (...pieces) => new Response(new ReadableStream({
  start(controller) {
    for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
    controller.close();
  },
}), { headers: { "Content-Type": "text/event-stream" } });
