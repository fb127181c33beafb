// openai-node: effort and budget per request; fields that its types lack are sent as they are.
import OpenAI from "openai";

const STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?";
const client = new OpenAI({ baseURL: process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8000/v1", apiKey: "unused" });
const stream = await client.chat.completions.create({
  model: "demo",
  reasoning_effort: "low",
  thinking_token_budget: 40,
  messages: [{ role: "user", content: STORY }],
  stream: true,
});
let text = "";
let tops;
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta.content ?? "";
  tops = chunk.tops ?? tops;
}
console.log(text, tops);
