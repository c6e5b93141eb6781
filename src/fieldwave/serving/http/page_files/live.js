// Live figures, from the service's own counts.

import { $, draw, make, milliseconds } from "./elements.js";

const PER_POINT = 3;  // seconds

const points = (series, scale) => {
  const found = [];
  for (let at = 0; at + PER_POINT <= series.length; at += PER_POINT) {
    found.push(series.slice(at, at + PER_POINT).reduce((sum, one) => sum + one, 0) / PER_POINT * scale);
  }
  return found;
};

const path = (values, most) =>
  values.map((value, at) => `${at ? "L" : "M"}${at} ${(100 - 96 * value / most).toFixed(2)}`).join("");

function spark(said) {
  // The second under way is not whole.
  const answered = points(said.answered.slice(0, -1).slice(-177), 1);
  const refused = points(said.refused.slice(0, -1).slice(-177), 1);
  const peak = Math.max(...answered);
  const most = Math.max(peak, ...refused, 0.5);
  const line = path(answered, most);
  const last = answered.length - 1;
  $("spark").setAttribute("viewBox", `0 0 ${last} 100`);
  $("spark").setAttribute("aria-label", `Requests per second, at most ${peak.toFixed(1)}`);
  $("spark").replaceChildren(draw("path", { class: "area", d: `${line}L${last} 100L0 100Z` }), draw("path", { class: "line", d: line }));
  if (refused.some(Boolean)) $("spark").append(draw("path", { class: "refused", d: path(refused, most) }));
  const lost = said.refused.reduce((sum, one) => sum + one, 0);
  $("peak").textContent = `peak ${peak < 10 ? peak.toFixed(1) : Math.round(peak)}/s${lost ? ` · ${lost} refused` : ""}`;
}

const withUnit = text => {
  const [value, unit] = text.split(" ");
  return [value, make("small", {}, unit)];
};

export function showFigures(said) {
  $("rate").textContent = said.rate < 10 ? said.rate.toFixed(1) : Math.round(said.rate).toLocaleString("en");
  for (const name of ["p50", "p99"]) {
    const value = said[`${name}_milliseconds`];
    $(name).replaceChildren(...(value === null ? ["–"] : withUnit(milliseconds(value))));
  }
  $("hand").replaceChildren(String(said.in_hand), make("small", {}, `of ${said.places}`));
  spark(said);
}
