// AI SDK: @ai-sdk/openai-compatible shows reasoning; the effort is an option of the provider.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?";
const tops = createOpenAICompatible({
  name: "tops",
  baseURL: process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8000/v1",
  apiKey: "unused",
});
const { text, reasoningText } = await generateText({
  model: tops("demo"),
  prompt: STORY,
  providerOptions: { tops: { reasoningEffort: "low" } },
});
console.log(reasoningText);
console.log(text);
