// Stacked bars over time, with a line of what the baseline was expected to take; drawn as SVG.

import { colour, order, short, whole } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const TALL = 208, LEFT = 44, BASE = 180, TOP = 10;

// Draws one object of amounts by effort per bin. `line` has an amount per bin, or is absent.
export function bars(place, { stacks, line = [], begin, width, range, what }) {
  const wide = Math.max(place.clientWidth, 240);
  const totals = stacks.map((stack) => sum(Object.values(stack)));
  const most = ceiling(Math.max(...totals, ...line, 2));
  const svg = make("svg", { viewBox: `0 0 ${wide} ${TALL}`, role: "img", "aria-label": described(what, totals, line, range, width) });
  const height = (amount) => (amount / most) * (BASE - TOP);
  for (const part of [0, 0.5, 1]) {
    const y = BASE - part * (BASE - TOP);
    svg.append(make("line", { x1: LEFT, x2: wide, y1: y, y2: y, class: "axis" }));
    svg.append(label(LEFT - 8, y + 4, short.format(part * most), "end"));
  }
  const each = (wide - LEFT) / stacks.length;
  const gap = Math.min(4, each / 5);
  stacks.forEach((stack, index) => {
    let y = BASE;
    for (const [effort, amount] of Object.entries(stack).sort(([a], [b]) => order(a) - order(b))) {
      if (!amount) continue;
      const tall = height(amount);
      y -= tall;
      const bar = make("rect", { x: LEFT + index * each + gap / 2, width: each - gap, y, height: Math.max(tall - (tall > 3 ? 1 : 0), 0.5), rx: 1, class: colour(effort) });
      const hint = make("title", {});
      hint.textContent = `${clock(begin + index * width, range)}, ${effort}: ${whole.format(amount)}`;
      bar.append(hint);
      svg.append(bar);
    }
  });
  if (line.length) svg.append(make("path", { d: steps(line, each, height), class: "baseline" }));
  svg.append(label(LEFT, TALL - 6, clock(begin, range), "start"));
  svg.append(label((LEFT + wide) / 2, TALL - 6, clock(begin + (width * stacks.length) / 2, range), "middle"));
  svg.append(label(wide, TALL - 6, "now", "end"));
  place.replaceChildren(svg);
}

export function interval(place, low, middle, high) {
  const svg = make("svg", { viewBox: "-2 0 104 12", preserveAspectRatio: "none" });
  const from = Math.min(0, low);
  const at = (value) => (100 * (value - from)) / (1 - from);
  svg.append(
    make("line", { x1: 0, x2: 100, y1: 6, y2: 6, class: "axis", "stroke-width": 1 }),
    make("rect", { x: at(low), width: Math.max(at(high) - at(low), 0.5), y: 3, height: 6, rx: 1, class: "within" }),
    make("rect", { x: at(middle) - 0.3, width: 0.6, y: 1, height: 10, class: "middle" }),
  );
  place.replaceChildren(svg);
}

function described(what, totals, line, range, width) {
  const all = `${whole.format(sum(totals))} in all, at most ${whole.format(Math.max(...totals, 0))} in ${duration(width)}`;
  const baseline = line.length ? `; the baseline was expected to take ${whole.format(sum(line))}` : "";
  return `${what} over the last ${range}: ${all}${baseline}`;
}

// The next round number: of a half of it, too, an axis can be read.
function ceiling(amount) {
  const unit = 10 ** Math.floor(Math.log10(amount));
  return unit * [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * unit >= amount);
}

function steps(line, each, height) {
  return line.map((amount, index) => {
    const y = BASE - height(amount);
    return `${index ? "L" : "M"}${LEFT + index * each},${y}H${LEFT + (index + 1) * each}`;
  }).join("");
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

function clock(seconds, range) {
  const date = new Date(1000 * seconds);
  return range === "1h" || range === "24h"
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { month: "short", day: "numeric" });
}

function duration(seconds) {
  if (seconds >= 86400) return "a day";
  return seconds >= 3600 ? `${whole.format(seconds / 3600)} h` : `${whole.format(seconds / 60)} min`;
}

function label(x, y, text, anchor) {
  const made = make("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

function make(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
