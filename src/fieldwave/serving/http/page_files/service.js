// Calls of the service. A key lives in this module's memory, and nowhere else.

let key = "";
let asking = null;
let ask = async () => "";

export class Failure extends Error {
  constructor(text, status = 0) {
    super(text);
    this.status = status;
  }
}

// `asker(why)` gives a key; it is called when the service wants one.
export function askWith(asker) {
  ask = asker;
}

async function newKey(why, used) {
  if (used !== key) return;  // another call has asked in the meantime
  asking ??= ask(why).then(given => { key = given; }).finally(() => { asking = null; });
  await asking;
}

async function call(path, options = {}) {
  for (;;) {
    const used = key;
    const headers = used ? { authorization: `Bearer ${used}` } : {};
    let response;
    try {
      response = await fetch(new URL(path, document.baseURI), { ...options, headers, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("the service does not answer");
    }
    if (response.status !== 401) return response;
    const said = await response.json().catch(() => ({}));
    await newKey(used ? said.error : "", used);
  }
}

async function answerOf(response) {
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Failure(answer.error ?? `the service answers ${response.status}`, response.status);
  return answer;
}

export async function firstKey() {
  if (document.documentElement.dataset.key === "wanted") await newKey("", key);
}

export const service = async () => answerOf(await call("fieldwave/service"));

export const figures = async () => answerOf(await call("fieldwave/figures"));

// A prediction: the answer, and the milliseconds of each stage; what the server did not take is the network's.
export async function read(model, file, limit, parameters, signal) {
  const path = `fieldwave/models/${encodeURIComponent(model)}/read?${new URLSearchParams(parameters)}`;
  const begin = performance.now();
  let response;
  try {
    response = await call(path, { method: "POST", body: file, signal });
  } catch (error) {
    // A refusal while the body is still being sent can be lost with the connection.
    if (error instanceof Failure && file.size > limit) throw new Failure(`the body is larger than ${limit} bytes`, 413);
    throw error;
  }
  const answer = await answerOf(response);
  const total = performance.now() - begin;
  const stages = {};
  for (const each of (response.headers.get("server-timing") ?? "").split(", ")) {
    const [, name, value] = each.match(/^(\w+);dur=([\d.]+)$/) ?? [];
    if (name) stages[name] = Number(value);
  }
  const inside = Object.values(stages).reduce((sum, value) => sum + value, 0);
  return { answer, total, stages: { ...stages, network: Math.max(total - inside, 0) } };
}
