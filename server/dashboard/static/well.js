// "Is it well?": failures, times, requests in flight, engines and how they keep budgets.

import { add } from "./answer.js";
import { shares } from "./table.js";
import { count, NONE, percent, seconds, whole } from "./words.js";

const element = (id) => document.getElementById(id);

const STATUSES = {
  200: "answered",
  400: "the request was wrong",
  401: "no API key, or an unknown one",
  404: "another model or path was asked for",
  408: "the body took too long to arrive",
  413: "the body was too large",
  429: "too many requests",
  499: "the client closed the connection",
  500: "the gateway or the engine failed",
  502: "the engine's answer was broken",
  503: "no engine was up",
  504: "the engine took too long",
};
const BUDGETS = {
  native: "It keeps thinking budgets itself.",
  "two-phase": "The gateway ends the thinking at a budget, and goes on for the answer.",
  none: "Thinking budgets have no effect.",
  unproven: "Whether it keeps thinking budgets is not proven.",
};

export function showWell({ accounts, recent, now }) {
  showFailed(accounts);
  showTime("latency", recent.seconds);
  showTime("ttft", recent.ttft_seconds, "streamed answer");
  showTime("first-answer", recent.first_answer_seconds, "streamed answer");
  element("in-flight").textContent = whole.format(now.in_flight);
  element("in-flight-note").textContent = now.load
    ? `The load raises the price of thinking, by ${percent(now.load, 0)} of the most.`
    : "Requests at this moment.";
  showEngines(now.engines);
}

function showFailed({ requests, statuses }) {
  const failed = Object.entries(statuses).reduce((sum, [status, number]) => sum + (status >= 500 ? number : 0), 0);
  figure("failed", requests ? percent(failed / requests) : null);
  element("failed").classList.toggle("bad", failed / requests > 0.01);
  element("failed-note").textContent = requests
    ? `${whole.format(failed)} of ${count(requests, "request")} with a status of 500 or above.`
    : "No request in this time.";
  shares(element("statuses"), Object.entries(statuses).map(([status, number]) => ({
    name: `${status}, ${STATUSES[status] ?? "another status"}`,
    number,
    told: whole.format(number),
    isBad: status >= 500,
  })), requests);
  if (!requests) add(element("statuses"), "li", "note", NONE);
}

function showTime(id, times, what = "answer") {
  figure(id, times && seconds(times.p50));
  element(`${id}-note`).textContent = times
    ? `Median of the newest ${count(times.requests, what)}. 95 % within ${seconds(times.p95)}, 99 % within ${seconds(times.p99)}.`
    : `No ${what} in this time.`;
}

// A number in large, or that there is none.
function figure(id, told) {
  element(id).textContent = told ?? NONE;
  element(id).classList.toggle("pending", told === null);
}

function showEngines(engines) {
  element("engines").replaceChildren();
  for (const { engine, up, budgets } of engines) {
    const item = add(element("engines"), "li");
    add(item, "span", up ? "up" : "down", up ? "up" : "down");
    add(item, "code", "", engine);
    add(item, "p", "note", BUDGETS[budgets] ?? budgets);
  }
}
