// "What is it doing?": counts that add up, efforts, abstentions, ends of budgets, kinds of traffic.

import { add } from "./answer.js";
import { bars } from "./chart.js";
import { saving } from "./saving.js";
import { shares, table } from "./table.js";
import { colour, count, NONE, order, percent, whole } from "./words.js";

const element = (id) => document.getElementById(id);

const REASONS = {
  chosen: "The client or its key chose",
  explored: "Drawn to explore another effort",
  "no holdout": "Answered while nothing was held out",
  uncounted: "The engine told no thinking tokens",
  refused: "Refused, 400 to 498",
  disconnected: "The client left, 499",
  failed: "Failed, 500 or above",
};

const SOURCES = {
  router: "Set by the router",
  request: "Asked for by the client",
  key: "Limit of the API key",
  limit: "Room left by max_tokens and context",
  effort: "Of the effort",
};

export function showDoing(data) {
  showAccounts(data);
  const { efforts, begin, bin_seconds: width } = data.timeline;
  bars(element("efforts"), { stacks: efforts, begin, width, range: data.range, what: "requests by effort" });
  legend(element("legend"), efforts, whole);
  showAbstentions(data.recent);
  showBudgets(data.recent);
  const columns = (first) => [[first, ""], ["Requests", "right"], ["Held out", "right"], ["Saved", "right"]];
  const row = ([name, entry]) => [name, whole.format(entry.requests), whole.format(entry.held_out_requests), saving(entry)];
  table(element("by-effort"), columns("Effort"), Object.entries(data.by_effort).sort(([a], [b]) => order(a) - order(b)).map(row));
  element("kinds").hidden = Object.keys(data.by_kind).every((kind) => kind === "unknown");
  table(element("by-kind"), columns("Kind"), Object.entries(data.by_kind).sort(([, a], [, b]) => b.requests - a.requests).map(row));
}

function showAccounts({ accounts, savings }) {
  element("requests").textContent = whole.format(accounts.requests);
  element("requests-note").textContent = accounts.requests ? "with a decision, in this time; each is counted once" : NONE;
  const sum = element("left-out");
  sum.replaceChildren();
  const line = (name, number, kind = "") => {
    add(sum, "dt", kind, name);
    add(sum, "dd", kind, whole.format(number));
  };
  const held = savings.thinking_tokens.held_out_requests;
  line("Compared: left to the router", accounts.compared - held);
  line("Compared: held out", held);
  for (const [reason, number] of Object.entries(accounts.left_out)) line(REASONS[reason] ?? reason, number);
  line("All", accounts.requests, "total");
}

// The amounts of all bins by effort, with their colours.
export function legend(place, bins, format) {
  const all = {};
  for (const bin of bins) for (const [effort, amount] of Object.entries(bin)) all[effort] = (all[effort] ?? 0) + amount;
  place.replaceChildren();
  for (const effort of Object.keys(all).filter((name) => all[name]).sort((a, b) => order(a) - order(b))) {
    const item = add(place, "li", colour(effort));
    add(item, "span", "swatch");
    item.append(effort);
    add(item, "b", "", format.format(all[effort]));
  }
}

const newest = (recent) => `Of the newest ${count(recent.requests, "request")} in this time.`;

function showAbstentions(recent) {
  const entries = Object.entries(recent.abstentions.reasons);
  shares(element("abstentions"), entries.map(([name, number]) => ({ name, number, told: `${whole.format(number)}, ${percent(number / recent.requests)}` })), recent.requests);
  const none = recent.requests ? `It did not abstain. ${newest(recent)}` : "No request in this time.";
  element("abstentions-note").textContent = entries.length ? newest(recent) : none;
}

function showBudgets(recent) {
  const entries = Object.entries(recent.budgets);
  shares(element("hits"), entries.map(([name, { answers, ended }]) => ({
    name: SOURCES[name] ?? name,
    number: ended / answers,
    told: `${whole.format(ended)} of ${whole.format(answers)}, ${percent(ended / answers)}`,
  })), 1);
  const unknown = entries.reduce((sum, [, entry]) => sum + entry.unknown, 0);
  const doubt = unknown ? ` Of ${whole.format(unknown)} the engine does not tell.` : "";
  element("hits-note").textContent = (entries.length ? newest(recent) : "No answer had a budget.") + doubt;
}
