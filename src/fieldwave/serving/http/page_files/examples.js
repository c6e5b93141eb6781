// How to call this very service from elsewhere; keys are never written into an example.

import { $, make } from "./elements.js";

const quoted = text => JSON.stringify(text);

function python(about, model, first) {
  const { hostname, protocol } = location;
  const tls = protocol === "https:";
  if (model.name !== first.name || !model.image) return pythonRest(about, model);
  const arguments_ = [quoted(hostname.replace(/^\[|\]$/g, "")), about.grpc_port];
  if (tls) arguments_.push("use_ssl=True");
  if (about.keys) arguments_.push('access_token=os.environ["KEY"]');
  const input = model.input === "images" ? "" : `, input_name=${quoted(model.input)}`;
  const open = `with PredictionClient(${arguments_.join(", ")}) as client:`;
  const start = [...(about.keys ? ["import os", ""] : []), "from fieldwave.client import PredictionClient"];
  if (model.reads === "objects") {
    return [...start, "", open, `    for one in client.detect_file("photo.jpg"${input}):`,
      "        print(one.label, f\"{one.score:.0%}\", one.box)"].join("\n");
  }
  if (model.reads === "classes") {
    return [...start, "from fieldwave.postprocess import top_k", "", open,
      `    scores = client.score_file("photo.jpg"${input})`,
      "    for one in top_k(scores, client.labels(), 5):",
      "        print(f\"{one.probability:6.1%}  {one.label}\")"].join("\n");
  }
  return [...start, "", open, `    print(client.score_file("photo.jpg"${input}))`].join("\n");
}

function pythonRest(about, model) {
  const key = about.keys ? ', headers={"authorization": "Bearer " + os.environ["KEY"]}' : "";
  return [about.keys ? "import json, os, urllib.request" : "import json, urllib.request", "",
    'data = open("photo.jpg", "rb").read()', `url = ${quoted(address(model))}`,
    `request = urllib.request.Request(url, data${key})`,
    "print(json.load(urllib.request.urlopen(request)))"].join("\n");
}

const address = model => new URL(`fieldwave/models/${encodeURIComponent(model.name)}/read`, document.baseURI).href;
const withKey = about => about.keys ? ' -H "authorization: Bearer $KEY"' : "";

const curl = (about, model) =>
  `curl -s${withKey(about)} --data-binary @photo.jpg \\\n${address(model)}`;

function openInference(about, model) {
  const url = new URL(`v2/models/${encodeURIComponent(model.name)}/infer`, document.baseURI).href;
  const request = { inputs: [{ name: model.input, datatype: "BYTES", shape: [1], parameters: { content_type: "base64" }, data: ["%s"] }] };
  return `printf '${JSON.stringify(request)}' \\\n"$(base64 -w0 photo.jpg)" |\ncurl -s${withKey(about)} -d @- \\\n${url}`;
}

export function showExamples(about, model) {
  const texts = { curl: curl(about, model), Python: python(about, model, about.models[0]), "Open Inference": openInference(about, model) };
  const tabs = Object.keys(texts).map(name => make("button", { type: "button", role: "tab", "aria-controls": "panel" }, name));
  const select = at => {
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(index === at));
      tab.tabIndex = index === at ? 0 : -1;
    });
    $("code").textContent = texts[tabs[at].textContent];
    $("copied").textContent = "";
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => select(index));
    tab.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (index + step + tabs.length) % tabs.length;
      select(next);
      tabs[next].focus();
    });
  });
  const before = [...$("tabs").children].findIndex(tab => tab.getAttribute("aria-selected") === "true");
  $("tabs").replaceChildren(...tabs);
  select(Math.max(before, 0));
}

export function watchCopy() {
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText($("code").textContent);
      $("copied").textContent = "copied";
    } catch {  // not allowed, or no TLS: let it be copied by hand
      getSelection().selectAllChildren($("code"));
      $("copied").textContent = "selected; copy it with Ctrl-C";
    }
  });
}
