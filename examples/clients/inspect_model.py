"""Inspect: a provider for OpenAI-like servers; its effort is sent, its reasoning_tokens are not."""

import asyncio
import os

from inspect_ai.model import GenerateConfig, get_model

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"


async def main() -> None:
    model = get_model(
        "openai-api/tops/demo",
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key="unused",
        config=GenerateConfig(reasoning_effort="low", max_connections=4),
    )
    output = await model.generate(STORY)
    print(output.completion, output.usage)


asyncio.run(main())
