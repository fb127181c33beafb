"""LangChain: `reasoning_effort` is sent for any model's name; usage in streams needs a setting."""

import os

from langchain_openai import ChatOpenAI

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
model = ChatOpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key="unused",
    model="demo",
    reasoning_effort="low",
    stream_usage=True,
)
chunks = list(model.stream(STORY))
print("".join(chunk.text for chunk in chunks))
print([chunk.usage_metadata for chunk in chunks if chunk.usage_metadata][-1])
