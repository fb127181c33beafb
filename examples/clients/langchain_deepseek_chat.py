"""LangChain's ChatDeepSeek, which shows reasoning: it reads `reasoning_content`."""

import os

from langchain_deepseek import ChatDeepSeek

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
model = ChatDeepSeek(
    api_base=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key="unused",
    model="demo:low",
)
answer = model.invoke(STORY)
print(answer.additional_kwargs["reasoning_content"])
print(answer.content)
