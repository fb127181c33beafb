// "Is it saving?": the measured share, and tokens over time beside the baseline's.

import { bars, interval } from "./chart.js";
import { legend } from "./doing.js";
import { count, percent, short, whole } from "./words.js";

const NEEDED = 30; // conversations held out
const OFTEN = 0.2; // of the requests, as the alert TopsAbstains
const element = (id) => document.getElementById(id);
const points = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;

export function showSaving(data) {
  showShare(data.savings.thinking_tokens);
  showAbstained(data.savings.thinking_tokens, data.recent.abstentions);
  showAccuracy(data.accuracy);
  const { tokens, baseline_tokens: line, begin, bin_seconds: width } = data.timeline;
  bars(element("tokens"), { stacks: tokens, line, begin, width, range: data.range, what: "thinking tokens by effort" });
  const dash = document.createElement("li");
  const mark = document.createElement("span");
  mark.className = "dash";
  const expected = line.reduce((a, b) => a + b, 0);
  dash.append(mark, `expected at ${data.now.baseline} `, strong(short.format(expected)));
  legend(element("tokens-legend"), tokens, short);
  element("tokens-legend").append(dash);
}

function strong(text) {
  const made = document.createElement("b");
  made.textContent = text;
  return made;
}

export function saving(entry) {
  if (entry.pending) return "pending";
  const [low, high] = entry.share_always ?? entry.share_ci;
  return `${percent(entry.share)} [${(100 * low).toFixed(1)},\u00a0${(100 * high).toFixed(1)}]`;
}

function showShare(entry) {
  const isPending = entry.pending; // as `tops savings` says
  element("saved").classList.toggle("pending", isPending);
  if (isPending) {
    element("interval").replaceChildren();
    element("saved").textContent = "pending";
    const held = entry.held_out_conversations;
    element("saved-note").textContent = held < NEEDED
      ? `${count(held, "conversation")} held out so far; an interval needs ${NEEDED} or more.`
      : `${count(held, "conversation")} held out so far; the interval is still too wide to tell.`;
    return;
  }
  const [low, high] = entry.share_always ?? entry.share_ci;
  element("saved").textContent = percent(entry.share);
  element("saved-note").textContent =
    `Between ${percent(low)} and ${percent(high)}: ${short.format(entry.saved)} of ` +
    `${short.format(entry.saved + entry.taken)} tokens, measured against ${whole.format(entry.held_out_requests)} requests held out.`;
  interval(element("interval"), low, entry.share, high);
}

function showAbstained(entry, { requests, reasons }) {
  const abstained = Object.values(reasons).reduce((a, b) => a + b, 0);
  const isOften = abstained > OFTEN * requests;
  element("saved-abstained").textContent = isOften
    ? `The router abstained on ${whole.format(abstained)} of the newest ${count(requests, "request")}: those save nothing.`
    : "";
  element("saved-help").hidden = !entry.pending && !isOften;
}

function showAccuracy(entry) {
  const isKnown = entry !== null && !entry.pending && entry.difference_ci !== null;
  if (isKnown) {
    const [low, high] = entry.difference_ci;
    element("accuracy").textContent = `${points(entry.difference)} points`;
    element("accuracy-note").textContent = `[${points(low)}, ${points(high)}] against the baseline, by feedback`;
    return;
  }
  element("accuracy").textContent = entry === null ? "no feedback" : "pending";
  element("accuracy-note").textContent = entry === null
    ? "POST /v1/feedback tells whether answers were right."
    : `${whole.format(entry.held_out_requests)} held out with feedback so far`;
}
