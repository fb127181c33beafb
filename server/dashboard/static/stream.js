// One question to /v1/chat/completions: yields what its stream tells, in small objects.

import * as key from "./key.js";
import { failure, sentence, unreachable } from "./words.js";

export class Failed extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// Yields {decision}, {thought}, {text}, {finish} and {tops}. Throws Failed; AbortError where `signal` ends it.
export async function* ask(body, signal) {
  const answer = await sent(body, signal);
  if (!answer.ok) throw new Failed(await failure(answer), answer.status);
  yield { decision: decisionOf(answer.headers) };
  let isComplete = false;
  for await (const data of events(answer.body, signal)) {
    if (data === "[DONE]") {
      isComplete = true;
      break;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Failed(sentence(chunk.error.message ?? "the engine failed"));
    const choice = chunk.choices?.[0];
    const thought = choice?.delta?.reasoning ?? choice?.delta?.reasoning_content;
    if (thought) yield { thought };
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
    if (chunk.tops) yield { tops: chunk.tops };
  }
  if (!isComplete) throw new Failed("The connection ended before the answer was complete.");
}

async function sent(body, signal) {
  try {
    return await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json", ...key.headers() },
      body: JSON.stringify({ ...body, stream: true }),
      signal,
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Failed(unreachable);
  }
}

function decisionOf(headers) {
  const number = (name) => (headers.has(name) ? Number(headers.get(name)) : null);
  return {
    effort: headers.get("x-tops-composite") ?? headers.get("x-tops-effort"),
    source: headers.get("x-tops-source"),
    reason: headers.get("x-tops-reason"),
    budget: number("x-tops-budget"),
    isCalibrated: headers.get("x-tops-calibrated") !== "false",
    id: headers.get("x-request-id"),
  };
}

// The data of each server-sent event.
async function* events(stream, signal) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const part of parts) {
        const lines = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } catch (error) {
    throw signal.aborted || error.name === "AbortError"
      ? new DOMException("stopped", "AbortError")
      : new Failed("The connection broke before the answer was complete.");
  } finally {
    reader.cancel().catch(() => {});
  }
}
