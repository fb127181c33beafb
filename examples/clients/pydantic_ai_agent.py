"""pydantic-ai: an agent with an effort; its thoughts are parts of the answer."""

import os

from pydantic_ai import Agent
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
provider = OpenAIProvider(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="unused"
)
agent = Agent(OpenAIChatModel("demo", provider=provider))
result = agent.run_sync(STORY, model_settings={"openai_reasoning_effort": "low"})
parts = [part for message in result.all_messages() for part in message.parts]
print([part.content for part in parts if isinstance(part, ThinkingPart)])
print(result.output)
