// Draws what /dashboard/data tells, every few seconds while the page is seen. No libraries.
"use strict";

const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
const EVERY_MS = 5000;
const SVG = "http://www.w3.org/2000/svg";
const element = (id) => document.getElementById(id);

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const share = (value) => `${(100 * value).toFixed(1)} %`;
const points = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;

let timer = null;

async function refresh() {
  clearTimeout(timer);
  const range = document.querySelector("#range input:checked").value;
  const key = sessionStorage.getItem("key");
  try {
    const answer = await fetch(`/dashboard/data?range=${range}`, {
      headers: key ? { authorization: `Bearer ${key}` } : {},
    });
    const data = await answer.json();
    if (answer.status === 401) {
      askForKey(key !== null);
      return;
    }
    if (!answer.ok) throw new Error(data.error.message);
    show(data, range);
    const whose = data.key === null ? "" : `, requests of the key ${data.key}`;
    tell(`as of ${new Date().toLocaleTimeString()}${whose}`);
  } catch (error) {
    tell(error instanceof TypeError ? "the gateway does not answer" : error.message, true);
  }
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

function tell(text, bad = false) {
  const state = element("state");
  state.classList.toggle("bad", bad);
  state.textContent = text;
}

function askForKey(refused) {
  sessionStorage.removeItem("key");
  element("main").hidden = true;
  element("login").hidden = false;
  tell(refused ? "this API key is not known here" : "an API key is needed", refused);
  element("key").focus();
}

function show(data, range) {
  element("login").hidden = true;
  element("main").hidden = false;
  showSavings(data.savings.thinking_tokens);
  showRequests(data.requests, data.rows);
  showAccuracy(data.accuracy);
  showTimeline(data.timeline, range);
  fill("by-effort", Object.entries(data.by_effort)
    .sort(([a], [b]) => order(a) - order(b))
    .map(savingRow));
  element("kinds").hidden = Object.keys(data.by_kind).every((kind) => kind === "unknown");
  fill("by-kind", Object.entries(data.by_kind)
    .sort(([, a], [, b]) => b.requests - a.requests)
    .map(savingRow));
  fill("latest", data.latest.map((row) => [
    new Date(1000 * row.at).toLocaleTimeString(),
    row.effort,
    row.arm && row.arm !== "treated" ? row.arm : row.source,
    row.thinking_tokens ?? "–",
    row.baseline_tokens === null ? "–" : whole.format(row.baseline_tokens),
    row.budget === null ? "–" : `${row.budget}${row.budget_hit ? " (hit)" : ""}`,
    row.seconds.toFixed(2),
    row.status === 200 ? row.reason : `HTTP ${row.status}; ${row.reason}`,
  ]));
}

function savingRow([name, entry]) {
  return [name, whole.format(entry.requests), whole.format(entry.held_out_requests), saving(entry)];
}

function saving(entry) {
  if (entry.pending) return "pending";
  const [low, high] = entry.share_always ?? entry.share_ci;
  return `${share(entry.share)} [${share(low)}, ${share(high)}]`;
}

function showSavings(entry) {
  const figure = element("saved");
  const pending = entry.pending; // as `tops savings` says
  figure.classList.toggle("pending", pending);
  element("interval").replaceChildren();
  if (pending) {
    figure.textContent = "pending";
    element("saved-note").textContent =
      `${whole.format(entry.held_out_conversations)} conversations held out so far; ` +
      "an interval needs 30 or more";
    return;
  }
  const [low, high] = entry.share_always ?? entry.share_ci;
  figure.textContent = share(entry.share);
  element("saved-note").textContent =
    `between ${share(low)} and ${share(high)}: ${short.format(entry.saved)} of ` +
    `${short.format(entry.saved + entry.taken)} tokens, by ${whole.format(entry.held_out_requests)} ` +
    "requests held out";
  drawInterval(low, entry.share, high);
}

function drawInterval(low, middle, high) {
  const svg = make("svg", { viewBox: "-2 0 104 12", preserveAspectRatio: "none" });
  const from = Math.min(0, low);
  const place = (value) => (100 * (value - from)) / (1 - from);
  svg.append(
    make("line", { x1: 0, x2: 100, y1: 6, y2: 6, class: "axis", "stroke-width": 1 }),
    make("rect", { x: place(low), width: Math.max(place(high) - place(low), 0.5), y: 3, height: 6, class: "within" }),
    make("rect", { x: place(middle) - 0.3, width: 0.6, y: 1, height: 10, class: "middle" }),
  );
  element("interval").append(svg);
}

function showRequests(requests, rows) {
  const all = Object.values(requests).reduce((sum, count) => sum + count, 0);
  element("requests").textContent = whole.format(all);
  const told = Object.entries(requests).map(([arm, count]) => `${whole.format(count)} ${arm}`);
  if (rows.read >= rows.most) told.push(`savings of the newest ${whole.format(rows.most)}`);
  element("requests-note").textContent = told.join(", ") || "none yet";
}

function showAccuracy(entry) {
  const figure = element("accuracy");
  const pending = entry === null || entry.pending || entry.difference_ci === null;
  figure.classList.toggle("pending", pending);
  if (pending) {
    figure.textContent = entry === null ? "no feedback" : "pending";
    element("accuracy-note").textContent = entry === null
      ? "POST /v1/feedback tells whether answers were right"
      : `${whole.format(entry.held_out_requests)} held out with feedback so far`;
    return;
  }
  const [low, high] = entry.difference_ci;
  figure.textContent = `${points(entry.difference)} points`;
  element("accuracy-note").textContent =
    `[${points(low)}, ${points(high)}] against the baseline effort, from feedback`;
}

// Composite efforts, such as stop:low@256:high, come behind the others and share a colour.
const order = (effort) => (EFFORTS.includes(effort) ? EFFORTS.indexOf(effort) : EFFORTS.length);
const colour = (effort) => (EFFORTS.includes(effort) ? effort : "composite");

function showTimeline(timeline, range) {
  const names = new Set(timeline.efforts.flatMap(Object.keys));
  const used = [...names].sort((a, b) => order(a) - order(b));
  element("legend").replaceChildren(...used.map((effort) => {
    const item = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.className = `swatch ${colour(effort)}`;
    const count = timeline.efforts.reduce((sum, bin) => sum + (bin[effort] ?? 0), 0);
    item.append(swatch, `${effort} ${whole.format(count)}`);
    return item;
  }));
  const stacks = timeline.efforts.map((bin) => used.map((effort) => [effort, bin[effort] ?? 0]));
  drawBars("efforts", stacks, timeline, range, "requests by effort");
  drawBars("thinking", timeline.thinking_tokens.map((n) => [["low", n]]), timeline, range, "thinking tokens");
  const hits = timeline.budget_hits.reduce((sum, count) => sum + count, 0);
  const all = timeline.efforts.flatMap(Object.values).reduce((sum, count) => sum + count, 0);
  element("hits").textContent = all ? share(hits / all) : "–";
  element("hits-note").textContent = `${whole.format(hits)} answers whose thinking a budget ended`;
}

function drawBars(id, stacks, timeline, range, what) {
  const wide = Math.max(element(id).clientWidth, 240);
  const tall = 176, left = 44, base = 150, top = 8;
  const totals = stacks.map((stack) => stack.reduce((sum, [, count]) => sum + count, 0));
  const most = Math.max(...totals, 1);
  const svg = make("svg", {
    viewBox: `0 0 ${wide} ${tall}`, role: "img",
    "aria-label": `${what} over the last ${range}: ${whole.format(totals.reduce((a, b) => a + b, 0))} in all, at most ${whole.format(most)} in ${duration(timeline.bin_seconds)}`,
  });
  for (const part of [0, 0.5, 1]) {
    const y = base - part * (base - top);
    svg.append(make("line", { x1: left, x2: wide, y1: y, y2: y, class: "axis" }));
    svg.append(label(left - 6, y + 4, short.format(part * most), "end"));
  }
  const each = (wide - left) / stacks.length;
  stacks.forEach((stack, place) => {
    let y = base;
    for (const [effort, count] of stack) {
      if (!count) continue;
      const height = (count / most) * (base - top);
      y -= height;
      svg.append(make("rect", { x: left + place * each + 0.5, width: each - 1, y, height, class: colour(effort) }));
    }
  });
  const time = (place) => clock(timeline.begin + place * timeline.bin_seconds, range);
  svg.append(label(left, tall - 6, time(0), "start"));
  svg.append(label((left + wide) / 2, tall - 6, time(stacks.length / 2), "middle"));
  svg.append(label(wide, tall - 6, "now", "end"));
  element(id).replaceChildren(svg);
}

function clock(seconds, range) {
  const date = new Date(1000 * seconds);
  return range === "1h" || range === "24h"
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { month: "short", day: "numeric" });
}

function duration(seconds) {
  return seconds < 3600 ? `${whole.format(seconds / 60)} minutes` : `${(seconds / 3600).toFixed(1)} hours`;
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

function fill(id, rows) {
  element(id).tBodies[0].replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    for (const cell of cells) row.insertCell().textContent = cell;
    return row;
  }));
}

element("range").addEventListener("change", refresh);
element("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", element("key").value);
  element("key").value = "";
  refresh();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();
