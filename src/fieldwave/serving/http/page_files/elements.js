// Elements without HTML as text: what a service or a file says is never markup.

export const $ = id => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

export const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

export const show = (element, visible) => { element.hidden = !visible; };

export function milliseconds(value) {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return value < 10000 ? `${value.toFixed(digits)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export const bytes = count =>
  count < 1000 ? `${count} B` : count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;

// The colour of a class: hues a golden angle apart at one lightness, as `fieldwave predict --draw` has them.
export const colour = index => `oklch(0.8 0.17 ${(20 + 137.508 * index) % 360})`;
