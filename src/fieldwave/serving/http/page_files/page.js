// The page: one picture, one request, its answer; and beside it what the service says of itself.

import { $, bytes, make, show } from "./elements.js";
import { showExamples, watchCopy } from "./examples.js";
import { showFigures } from "./live.js";
import { watchPictures } from "./picture.js";
import { hideFailure, showClasses, showFailure, showObjects, showSeen, showTensors, showTime } from "./results.js";
import { askWith, figures, firstKey, read, service } from "./service.js";

const EVERY = 2000;  // milliseconds, between two looks at the figures
const LEAST_SCORE = 0.05;
const STATES = { waiting: "waiting for a device", programming: "programming the device", serving: "serving",
  failed: "the device does not answer", stopping: "stopping", away: "no answer" };

let about = null;
let isStale = true;  // it may have become another service
let model = null;
let picture = null;
let threshold = null;
let running = null;

async function learn() {
  about = await service();
  model = about.models.find(one => one.name === model?.name) ?? about.models[0];
  isStale = false;
  showModel();
}

function showModel() {
  const several = about.models.length > 1;
  $("name").textContent = several ? "Fieldwave" : model.name;
  document.title = `${model.name} · Fieldwave`;
  show($("choice"), several);
  $("models").replaceChildren(...about.models.map(one => make("option", { value: one.name }, one.name)));
  $("models").value = model.name;
  show($("chip"), Boolean(model.device));
  $("chip").textContent = device();
  show($("openapi"), !about.keys);  // a link sends no key
  showWho();
  showExamples(about, model);
}

function showWho(counted = null) {
  const rows = facts(counted).map(([name, said]) => make("div", {}, make("dt", {}, name), make("dd", {}, said)));
  $("who").replaceChildren(...rows);
}

const device = () => model.npu?.configuration ? `${model.device}:${model.npu.configuration}` : model.device;

function facts(counted) {
  const shape = one => `${one.dtype} [${one.shape.map(size => size ?? "N").join(", ")}]`;
  const rows = [["network", model.name + (model.labels ? `, ${model.labels} classes` : "")]];
  if (model.image) rows.push(["input", `${model.image.width} × ${model.image.height}, ${model.image.order}, ${model.image.resize}`]);
  else rows.push(["input", Object.entries(model.accepts).map(([name, text]) => `${name}: ${text}`).join("; ")]);
  rows.push(["output", model.outputs.length === 1 ? shape(model.outputs[0]) : `${model.outputs.length} tensors`]);
  rows.push(["device", device() || "none yet"]);
  if (model.npu) rows.push(["fingerprint", make("code", {}, model.npu.fingerprint)]);
  if (counted?.cycles) rows.push(["an image", `${Math.round(counted.cycles / counted.images).toLocaleString("en")} cycles`]);
  if (model.exact) {
    const said = model.exact.exact ? "bit-exact" : "not bit-exact";
    rows.push(["bits", make("span", { class: model.exact.exact ? "mark" : "mark not" }, `${said}: ${model.exact.why}`)]);
  }
  rows.push(["package", make("code", { title: model.package }, model.package.slice(0, 23))]);
  rows.push(["version", `Fieldwave ${about.fieldwave}`]);
  return rows;
}

function showState(state) {
  $("state").dataset.state = state;
  $("state").textContent = STATES[state] ?? state;
}

async function look() {
  try {
    const said = await figures();
    // Another state can mean another package or a device that is there now.
    if (isStale || about.models[0].state !== said.state) await learn();
    showState(said.state);
    showFigures(said);
    if (said.device?.cycles) showWho(said.device);
  } catch {
    isStale = true;
    showState("away");
  }
}

async function keepLooking() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise(done => setTimeout(done, EVERY));
  }
}

async function showPicture({ file, turned }) {
  if (picture) URL.revokeObjectURL(picture.url);
  picture = { file, turned, url: URL.createObjectURL(file) };
  const image = $("image");
  $("again").disabled = false;
  hideFailure();
  image.src = picture.url;
  let size = "";
  try {
    await image.decode();
    size = `${image.naturalWidth} × ${image.naturalHeight} · `;
    image.alt = file.name;
    image.classList.toggle("tiny", image.naturalWidth < 100);
    image.width = image.naturalWidth < 100 ? image.naturalWidth * Math.floor(320 / image.naturalWidth) : image.naturalWidth;
    showSeen(model?.image, { width: image.naturalWidth, height: image.naturalHeight });
  } catch { /* the service says why */ }
  show($("shown"), Boolean(size));
  show($("drop-text"), !size);
  $("drop").classList.toggle("full", Boolean(size));
  $("about-image").textContent = `${file.name} · ${size}${bytes(file.size)}${turned ? " · turned upright" : ""}${
    size && model?.image?.resize === "crop" ? " · bright: what the network sees" : ""}`;
  await run();
}

async function run() {
  if (!picture) return;
  if (!about) await learn().catch(() => null);
  if (!about) return showFailure("the service does not answer");
  running?.abort();
  const mine = running = new AbortController();
  const card = document.querySelector(".results");
  card.setAttribute("aria-busy", "true");
  try {
    const parameters = model.reads === "objects" ? { threshold: Math.min(LEAST_SCORE, model.threshold) } : { top: 5 };
    const { answer, total, stages } = await read(model.name, picture.file, about.max_image_bytes, parameters, mine.signal);
    if (mine !== running) return;
    hideFailure();
    showTime(total, stages);
    if (answer.objects) showObjects(answer, threshold ?? model.threshold, value => { threshold = value; });
    else if (answer.classes) showClasses(answer);
    else showTensors(answer);
  } catch (error) {
    if (mine !== running || error.name === "AbortError") return;
    showFailure(error.message);
  } finally {
    if (mine === running) card.setAttribute("aria-busy", "false");
  }
}

function askForKey(why) {
  const dialog = $("ask");
  if (why) {
    $("ask-why").textContent = why;
    $("ask-why").classList.add("bad");
  }
  $("key").value = "";
  dialog.showModal();
  return new Promise(done => {
    const given = event => {
      event.preventDefault();
      const value = $("key").value.trim();
      if (!value) return $("key").focus();
      $("ask-form").removeEventListener("submit", given);
      $("key").value = "";
      dialog.close();
      done(value);
    };
    $("ask-form").addEventListener("submit", given);
  });
}

askWith(askForKey);
$("ask").addEventListener("cancel", event => event.preventDefault());
$("again").addEventListener("click", run);
$("models").addEventListener("change", () => {
  model = about.models.find(one => one.name === $("models").value);
  threshold = null;
  showModel();
  if (picture) showPicture(picture);
});
watchPictures(showPicture);
watchCopy();
await firstKey();
keepLooking();
