// What the network said: bars, boxes, figures of tensors; and where the time went.

import { $, colour, draw, make, milliseconds, show } from "./elements.js";

const STAGES = ["decode", "queue", "device", "encode", "network"];
const MOST_LISTED = 60, MOST_TAGS = 30;

const percent = score => `${(100 * score).toFixed(score > 0.0995 || score === 0 ? 1 : 2)} %`;
const short = value => Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2) : +value.toFixed(4);

export function showClasses(answer) {
  const [best] = answer.classes;
  const most = answer.probabilities ? 1 : Math.max(...answer.classes.map(one => one.score), 1e-9);
  const said = score => answer.probabilities ? percent(score) : String(short(score));
  const rows = answer.classes.map(one => {
    const fill = make("span", { class: "fill" });
    fill.style.width = `${Math.max(100 * one.score / most, 0)}%`;
    return make("li", {}, make("span", { class: "label", title: `class ${one.index}` }, one.label),
      make("span", {}, said(one.score)), make("span", { class: "track", "aria-hidden": "true" }, fill));
  });
  $("results").replaceChildren(
    make("p", { class: "best" }, best.label, make("small", {}, said(best.score))), make("ol", { class: "bars" }, ...rows));
}

export function showObjects(answer, threshold, onThreshold) {
  const list = make("ul", { class: "objects" });
  const count = make("span", { class: "quiet" });
  const value = make("output", { for: "threshold" });
  const slider = make("input", { id: "threshold", type: "range", min: 0.05, max: 0.95, step: 0.01, value: threshold });
  const update = () => {
    const least = Number(slider.value);
    value.textContent = least.toFixed(2);
    const found = answer.objects.filter(one => one.score > least);
    count.textContent = found.length === 1 ? "1 object" : `${found.length || "no"} objects`;
    list.replaceChildren(...found.slice(0, MOST_LISTED).map((one, number) => listed(one, number)));
    if (found.length > MOST_LISTED) list.append(make("li", { class: "quiet" }, `and ${found.length - MOST_LISTED} more`));
    drawBoxes(answer.image, found.slice(0, MOST_LISTED));
  };
  slider.addEventListener("input", () => { onThreshold(Number(slider.value)); update(); });
  $("results").replaceChildren(
    make("div", { class: "slider" }, make("label", { for: "threshold" }, "Least score"), slider, value), count, list,
    make("details", {}, make("summary", {}, `${answer.outputs.length} output tensors`), tensors(answer.outputs)));
  update();
}

function listed(one, number) {
  const dot = make("span", { class: "dot" });
  dot.style.background = colour(one.index);
  const item = make("li", { tabindex: "0" }, dot, one.label, make("span", { class: "score" }, percent(one.score)));
  const alone = only => {
    for (const each of document.querySelectorAll("#boxes g, #tags .tag")) {
      each.classList.toggle("faint", only && each.dataset.number !== String(number));
    }
  };
  for (const kind of ["mouseenter", "focus"]) item.addEventListener(kind, () => alone(true));
  for (const kind of ["mouseleave", "blur"]) item.addEventListener(kind, () => alone(false));
  return item;
}

function drawBoxes({ width, height }, found) {
  const boxes = [], tags = [];
  found.forEach((one, number) => {
    const { xmin, ymin, xmax, ymax } = one.box;
    const at = { x: xmin * width, y: ymin * height, width: (xmax - xmin) * width, height: (ymax - ymin) * height };
    const rect = draw("rect", at);
    rect.style.stroke = colour(one.index);
    boxes.push(draw("g", { "data-number": number }, draw("rect", { ...at, class: "rim" }), rect));
    const tag = make("span", { class: "tag", "data-number": number }, `${one.label} ${Math.round(100 * one.score)} %`);
    tag.style.background = colour(one.index);
    const above = ymin > 0.06;
    tag.style[above ? "bottom" : "top"] = `${100 * (above ? 1 - ymin : ymin)}%`;
    tag.style[xmin > 0.7 ? "right" : "left"] = `${100 * (xmin > 0.7 ? 1 - xmax : xmin)}%`;
    if (number < MOST_TAGS) tags.push(tag);
  });
  $("boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
  $("boxes").replaceChildren(...boxes.reverse());  // the likeliest on top
  $("tags").replaceChildren(...tags.reverse());
}

// The part of the picture that a network sees which takes the centre.
export function showSeen(image, { width, height }) {
  $("boxes").replaceChildren();
  $("tags").replaceChildren();
  if (image?.resize !== "crop") return;
  const scale = Math.max(image.shortest_side / Math.min(width, height), image.width / width, image.height / height);
  const [seenWidth, seenHeight] = [image.width / scale, image.height / scale];
  const [left, top] = [(width - seenWidth) / 2, (height - seenHeight) / 2];
  const outside = `M0 0H${width}V${height}H0ZM${left} ${top}v${seenHeight}h${seenWidth}v${-seenHeight}Z`;
  $("boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
  $("boxes").replaceChildren(draw("path", { class: "outside", "fill-rule": "evenodd", d: outside }));
}

export function showTensors(answer) {
  $("results").replaceChildren(tensors(answer.outputs));
}

function tensors(outputs) {
  const numbers = ["minimum", "mean", "maximum", "deviation"].filter(name => outputs.some(one => name in one));
  const head = ["output", "shape"].map(name => make("th", {}, name));
  const rows = outputs.map(one => make("tr", {}, make("td", {}, one.name),
    make("td", {}, `${one.dtype} [${one.shape.join(", ")}]`),
    ...numbers.map(name => make("td", { class: "number" }, name in one ? String(short(one[name])) : ""))));
  return make("div", { class: "wide" }, make("table", {},
    make("tr", {}, ...head, ...numbers.map(name => make("th", { class: "number" }, name))), ...rows));
}

export function showTime(total, stages) {
  const parts = STAGES.filter(name => name in stages);
  const stack = make("div", { class: "stack", role: "img",
    "aria-label": parts.map(name => `${name} ${milliseconds(stages[name])}`).join(", ") });
  for (const name of parts) {
    const part = make("span", { class: name, title: `${name} ${milliseconds(stages[name])}` });
    part.style.flexGrow = String(stages[name]);
    part.style.flexBasis = "0";
    stack.append(part);
  }
  const legend = parts.map(name =>
    make("div", { class: name }, make("dt", {}, name), make("dd", {}, milliseconds(stages[name]))));
  $("time").replaceChildren(
    make("p", { class: "total" }, milliseconds(total), make("small", {}, "as this browser sees it")),
    stack, make("dl", { class: "legend" }, ...legend));
}

// In place of an answer.
export function showFailure(text) {
  $("results").replaceChildren();
  $("time").replaceChildren(make("p", { class: "quiet" }, "No answer, no time."));
  $("failure").textContent = text;
  show($("failure"), true);
}

export const hideFailure = () => show($("failure"), false);
