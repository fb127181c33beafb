// The latest decisions: a table, or cards on a phone.

import { add, make } from "./answer.js";
import { table } from "./table.js";
import { colour, seconds, sentence, source, whole } from "./words.js";

const FEW = 8;
const COLUMNS = [
  [`Time, ${zone()}`, "time"], ["Request", "request"], ["Status", "status right"], ["Effort", "effort"], ["Thinking", "right"],
  ["Baseline", "right"], ["Budget", "right"], ["Took", "right"], ["Why", "reason"],
];

const more = document.getElementById("more");
let latest = [];

export function showLatest(rows) {
  latest = rows;
  draw();
}

more.addEventListener("click", () => {
  more.setAttribute("aria-expanded", more.getAttribute("aria-expanded") === "false");
  draw();
});

function draw() {
  const isWhole = more.getAttribute("aria-expanded") === "true";
  more.hidden = latest.length <= FEW;
  more.textContent = isWhole ? "Show fewer" : `Show all ${latest.length}`;
  const rows = isWhole ? latest : latest.slice(0, FEW);
  table(document.getElementById("latest"), COLUMNS, rows.map((row) => [
    time(row.at),
    request(row),
    status(row.status),
    effort(row),
    row.thinking_tokens === null ? "–" : whole.format(row.thinking_tokens),
    row.baseline_tokens === null ? "–" : whole.format(row.baseline_tokens),
    budget(row),
    seconds(row.seconds),
    sentence(row.reason),
  ]));
}

function zone() {
  const parts = new Intl.DateTimeFormat([], { timeZoneName: "short" }).formatToParts();
  return parts.find(({ type }) => type === "timeZoneName").value;
}

function time(at) {
  const date = new Date(1000 * at);
  const made = make("time", "", date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }));
  made.dateTime = date.toISOString();
  const cell = make("span", "mark");
  cell.append(made);
  add(cell, "span", "zone", ` ${zone()}`); // which the column's title has where there is one
  if (date.toDateString() !== new Date().toDateString()) {
    add(cell, "small", "", ` ${date.toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" })}`);
  }
  return cell;
}

function request({ request_id: id }) {
  const made = make("code", "", id.length > 12 ? `…${id.slice(-8)}` : id); // ids begin with the time
  made.title = id;
  if (id.length > 12) add(made, "span", "hidden", ` ${id}`);
  return made;
}

function status(number) {
  return make("span", number >= 500 ? "status-bad" : "", String(number));
}

function effort(row) {
  const cell = make("span");
  const pill = add(cell, "span", `pill ${colour(row.effort)}`);
  add(pill, "span", "swatch");
  pill.append(row.effort);
  add(cell, "small", "", ` ${source(row.source)}`);
  return cell;
}

function budget(row) {
  if (row.budget === null) return "–";
  return `${whole.format(row.budget)}${row.budget_hit ? ", hit" : ""}`;
}
