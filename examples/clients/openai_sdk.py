"""OpenAI's SDK: effort and budget per request, reasoning and the decision in the answer."""

import os

from openai import OpenAI

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="unused"
)
answer = client.chat.completions.create(
    model="demo",
    reasoning_effort="low",
    messages=[{"role": "user", "content": STORY}],
    extra_body={"thinking_token_budget": 40},
)
print(answer.choices[0].message.model_extra["reasoning_content"])
print(answer.choices[0].message.content, answer.model_extra["tops"])
