"""LiteLLM: `openai/` before the model's name; an effort behind it passes every check."""

import os

import litellm

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
answer = litellm.completion(
    model="openai/demo:low",
    api_base=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key="unused",
    messages=[{"role": "user", "content": STORY}],
)
print(answer.choices[0].message.reasoning_content)
print(answer.choices[0].message.content, answer.tops)
