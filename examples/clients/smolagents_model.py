"""smolagents: the model of an agent, with the effort behind its name."""

import os

from smolagents import ChatMessage, OpenAIModel

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
model = OpenAIModel(
    "demo:low",
    api_base=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key="unused",
)
print(model([ChatMessage(role="user", content=STORY)]).content)
