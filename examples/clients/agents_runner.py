"""openai-agents: its chat-completions model, an effort in the settings, no traces to OpenAI."""

import os

from agents import (
    Agent,
    AsyncOpenAI,
    ModelSettings,
    OpenAIChatCompletionsModel,
    Runner,
    set_tracing_disabled,
)
from openai.types.shared import Reasoning

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
set_tracing_disabled(True)
client = AsyncOpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="unused"
)
agent = Agent(
    name="counter",
    model=OpenAIChatCompletionsModel("demo", client),
    model_settings=ModelSettings(reasoning=Reasoning(effort="low")),
)
print(Runner.run_sync(agent, STORY).final_output)
