// The page at /: asks the gateway, and the same at the baseline beside it.

import { Answer, add } from "./answer.js";
import { DEMO, GENERAL } from "./examples.js";
import * as key from "./key.js";
import { Failed, ask } from "./stream.js";
import { difference, failure, seconds, unreachable, whole } from "./words.js";

const element = (id) => document.getElementById(id);
const form = element("ask"), question = element("question"), answers = element("answers");

let offer = null;
let running = null; // the AbortController of the request that streams

async function load() {
  let answer;
  try {
    answer = await fetch("/try/data", { headers: key.headers() });
  } catch {
    return tell(unreachable, true);
  }
  if (answer.status === 401) return askForKey();
  if (!answer.ok) return tell(await failure(answer), true);
  offer = await answer.json();
  key.close();
  form.hidden = false;
  showOffer();
}

function askForKey() {
  form.hidden = true;
  const refused = key.ask();
  tell(refused ? "This API key is not known here." : "An API key is needed.", refused);
}

function showOffer() {
  if (offer.model === null) {
    tell("The engine is not up yet.", true);
    setTimeout(load, 2000);
  } else {
    const router = { fitted: "a router of its own", uncalibrated: "the portable router" }[offer.router];
    tell(`${offer.model}, with ${router ?? "no router"}`);
    element("model").textContent = offer.model;
  }
  const efforts = element("effort");
  for (const effort of efforts.querySelectorAll("label:not(:first-child)")) effort.remove();
  for (const effort of offer.efforts) {
    const label = add(efforts, "label");
    const input = add(label, "input");
    Object.assign(input, { type: "radio", name: "effort", value: effort });
    add(label, "span", "", effort);
  }
  if (offer.max_budget !== null) element("budget").placeholder = `up to ${whole.format(offer.max_budget)}`;
  const examples = offer.is_demo ? DEMO : GENERAL;
  const group = document.querySelector(".examples");
  for (const button of group.querySelectorAll("button")) button.remove();
  for (const [title, text] of examples) {
    const button = add(group, "button", "", title);
    button.type = "button";
    button.addEventListener("click", () => {
      question.value = text;
      question.focus();
    });
  }
  const isWriting = question.value || document.activeElement === question;
  if (!isWriting) question.value = examples[0][1];
}

function tell(text, bad = false) {
  const state = element("state");
  state.classList.toggle("bad", bad);
  state.textContent = text;
}

// To those who listen: what others see in the card.
function say(text) {
  element("live").textContent = text;
}

function chosen() {
  const effort = form.elements.effort.value;
  const body = { messages: [{ role: "user", content: question.value }] };
  if (effort !== "auto") body.reasoning_effort = effort;
  if (element("budget").value !== "") body.thinking_token_budget = Number(element("budget").value);
  return body;
}

async function begin() {
  if (running || !form.reportValidity()) return;
  answers.replaceChildren();
  answers.className = "";
  element("together").hidden = true;
  const body = chosen();
  const card = new Answer(body.reasoning_effort ?? "auto", offer.baseline);
  const isAnswered = await run(body, card);
  if (isAnswered && card.effort !== offer.baseline) offerBaseline(body, card);
}

function offerBaseline(body, card) {
  const button = add(card.after, "button", "", `Ask at the baseline, ${offer.baseline}, too`);
  button.type = "button";
  button.addEventListener("click", async () => {
    if (running) return;
    answers.className = "pair";
    const other = new Answer(`baseline ${offer.baseline}`, offer.baseline);
    const { messages } = body;
    button.disabled = true;
    const isAnswered = await run({ messages, reasoning_effort: offer.baseline }, other);
    if (isAnswered) {
      button.remove();
      compare(card, other);
    } else {
      button.disabled = false;
      button.addEventListener("click", () => other.element.remove(), { once: true });
    }
  });
}

function compare(card, other) {
  const line = element("together");
  line.replaceChildren("On this question: ");
  if (card.tokens !== null && other.tokens !== null) {
    const few = whole.format(card.tokens), many = whole.format(other.tokens);
    add(line, "strong", "", `${few} thinking tokens instead of ${many}`);
    line.append(difference(card.tokens, other.tokens), ". ");
  }
  line.append(`The answer took ${seconds(card.seconds)} instead of ${seconds(other.seconds)}.`);
  line.hidden = false;
}

// Streams the answer into its card; true where it came to its end.
async function run(body, card) {
  answers.append(card.element);
  if (card.element.getBoundingClientRect().top > innerHeight - 200) card.element.scrollIntoView();
  running = new AbortController();
  setBusy(true);
  const clock = setInterval(() => card.draw(), 100);
  try {
    for await (const part of ask(body, running.signal)) card.take(part);
    say(card.end());
    return true;
  } catch (error) {
    fail(error, card);
    return false;
  } finally {
    clearInterval(clock);
    running = null;
    setBusy(false);
  }
}

function fail(error, card) {
  if (error.name === "AbortError") {
    card.problem("Stopped. The gateway has ended the request at the engine.");
    say("Stopped.");
  } else if (error instanceof Failed) {
    if (error.status === 401) askForKey();
    card.problem(error.message);
  } else {
    card.problem("This page failed on the answer; its console has the error.");
    throw error;
  }
}

function setBusy(isBusy) {
  const [shown, gone] = isBusy ? [element("stop"), element("send")] : [element("send"), element("stop")];
  const hasFocus = document.activeElement === gone;
  shown.hidden = false;
  gone.hidden = true;
  if (hasFocus) shown.focus();
  if (isBusy) say("Waiting for the answer.");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  begin();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    begin();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
element("stop").addEventListener("click", () => running?.abort());
if (/Mac|iPhone|iPad/.test(navigator.platform)) element("shortcut").textContent = "⌘ Enter";
key.onEntered(load);
load();
