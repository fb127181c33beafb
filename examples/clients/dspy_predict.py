"""DSPy, through LiteLLM: `openai/` before the model's name, the effort behind it."""

import os

import dspy

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
lm = dspy.LM(
    "openai/demo:low",
    api_base=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key="unused",
    cache=False,
)
print(lm(STORY))
