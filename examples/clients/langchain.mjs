// LangChain.js: for unknown names its own effort is not sent, a suffix and modelKwargs are.
import { ChatOpenAI } from "@langchain/openai";

const STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?";
const model = new ChatOpenAI({
  model: "demo:low",
  apiKey: "unused",
  configuration: { baseURL: process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8000/v1" },
});
const answer = await model.invoke(STORY);
console.log(answer.additional_kwargs.reasoning_content);
console.log(answer.content);
