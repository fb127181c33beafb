"""Thoughts that an engine leaves in the answer, and does not count."""

import asyncio
import json
from typing import Any

import pytest
from engines import running
from processes import serving

from models.outcomes.client import (
    GenerationTask,
    RequestSettings,
    complete,
    http_client,
    outcome_row,
)
from models.outcomes.problem_sets import Problem
from models.outcomes.reasoning import split_reasoning

PROMPT = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens are there now?"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "5", "reasoning": "2+3"}, ("2+3", "5")),
        ({"content": "5", "reasoning_content": "2+3"}, ("2+3", "5")),
        ({"content": "<think>\n2+3\n</think>\n\n5"}, ("2+3", "5")),
        ({"content": "2+3\n</think>\n\n5"}, ("2+3", "5")),  # opened in the prompt
        ({"content": "<think>\n2+3=5, so"}, ("2+3=5, so", "")),  # cut off
        ({"content": "<think>\n\n</think>\n\n5"}, (None, "5")),
        ({"content": "5, not <think>4</think>"}, (None, "5, not <think>4</think>")),
        ({"content": None}, (None, "")),
        ({"content": "5"}, (None, "5")),
    ],
)
def test_thoughts_are_parted(message: dict[str, Any], expected: tuple[str | None, str]) -> None:
    assert split_reasoning(message) == expected


@pytest.mark.unit
def test_sampling_and_a_seed_of_its_own_are_sent_with_each_request() -> None:
    fields = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    settings = RequestSettings("", "m", 0.7, None, True, sampling=fields, seed=3)
    problem = Problem("p", PROMPT, "35")
    bodies = [settings.body(GenerationTask(problem, "low", sample)) for sample in (0, 1)]
    assert bodies[0].items() >= {**fields, "temperature": 0.7}.items()
    assert bodies[0]["seed"] != bodies[1]["seed"]
    assert bodies == [settings.body(GenerationTask(problem, "low", sample)) for sample in (0, 1)]
    plain = RequestSettings("", "m", 0.7, None, True).body(GenerationTask(problem, "low", 0))
    assert plain.keys() == {"model", "messages", "temperature", "reasoning_effort"}
    json.dumps(bodies)


@pytest.mark.slow
def test_thinking_is_counted_by_llamacpp_s_tokenizer() -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")

    async def row(url: str, effort: str) -> dict[str, Any]:
        task = GenerationTask(Problem("p", PROMPT, "35"), effort, 0)
        settings = RequestSettings(f"{url}/v1", "demo", 0.0, None, True, max_tokens=400)
        async with http_client(1) as http:
            return outcome_row(settings, task, await complete(http, settings, task), None)

    with running("llama.cpp") as engine, serving("--upstream", engine.url, *engine.flags) as server:
        counted = asyncio.run(row(engine.url, "high"))
        reported = asyncio.run(row(server.url, "high"))
        off = asyncio.run(row(engine.url, "none"))
    assert counted["response"]
    assert "</think>" not in counted["response"]
    assert counted["reasoning"] == reported["reasoning"]
    assert counted["thinking_tokens"] == reported["thinking_tokens"] > 0
    assert (off["reasoning"], off["thinking_tokens"]) == (None, 0)
