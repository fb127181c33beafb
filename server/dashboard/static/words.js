// Numbers and sentences, worded alike on all pages.

export const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

export const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;
export const seconds = (value) => (value < 0.0995 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(value < 10 ? 2 : 0)} s`);
export const NONE = "none yet";
export const count = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;

// Composite efforts, such as stop:low@256:high, come behind the others and share a colour.
export const order = (effort) => (EFFORTS.includes(effort) ? EFFORTS.indexOf(effort) : EFFORTS.length);
export const colour = (effort) => (EFFORTS.includes(effort) ? effort : "composite");

// ", 74 % fewer" of `taken` against `other`; nothing to say where they are equal, or there was none.
export function difference(taken, other) {
  if (!other || taken === other) return "";
  return `, ${percent(Math.abs(other - taken) / other, 0)} ${taken < other ? "fewer" : "more"}`;
}

const SOURCES = {
  request: "as asked for",
  key: "limited by the API key",
  pinned: "kept from earlier in the conversation",
  router: "chosen by the router",
  fallback: "the baseline, as the router abstained",
  holdout: "drawn at random, to measure savings",
};
export const source = (name) => SOURCES[name] ?? name;

export function sentence(text) {
  const trimmed = text.trim();
  const first = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

// Of an answer that is an error: what happened, and what to do about it.
export async function failure(answer) {
  let message = `the gateway answered with status ${answer.status}`;
  try {
    const body = await answer.json();
    message = body.error?.message ?? message;
  } catch {
    // not from this gateway: a proxy in front of it, perhaps
  }
  const wait = Number(answer.headers.get("retry-after"));
  const advice = wait > 0 ? ` Try again in ${count(wait, "second")}.` : "";
  return sentence(message) + advice;
}

export const unreachable = "The gateway does not answer. It may have stopped, or the network is down.";
