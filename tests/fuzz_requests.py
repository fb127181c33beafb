"""Random requests to every path: right ones, with up to four fields replaced by anything."""

import json
import random
from typing import Any

PATHS = (
    *("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions"),
    *("/v1/route", "/v1/feedback", "/v1/embeddings", "/v1/messages/count_tokens"),
)
_FIELDS = (
    *("model", "messages", "input", "prompt", "system", "instructions", "stream", "n", "stop"),
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "temperature", "tools"),
    *("reasoning_effort", "reasoning", "thinking", "thinking_token_budget", "thinking_budget"),
    *("thinking_budget_tokens", "reasoning_budget_tokens", "enable_thinking", "extra_body"),
    *("chat_template_kwargs", "custom_params", "output_config", "metadata", "user", "seed"),
    *("stream_options", "response_format", "conversation", "prompt_cache_key", "session_id"),
    *("continue_final_message", "add_generation_prompt", "request_id", "correct", "logprobs"),
)
_NAMES = (
    *("effort", "max_tokens", "type", "budget_tokens", "enable_thinking", "thinking", "role"),
    *("thinking_budget", "google", "thinking_config", "content", "text", "include_usage", "name"),
)
_SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2048, -(2**40), 2**63, 10**30, 0.5, -0.0, 1e308),
    *(
        "",
        "high",
        "none",
        "auto",
        "LOW",
        "ultra",
        "enabled",
        "disabled",
        "user",
        "assistant",
        "é\x00",
    ),
    *("<think>", "<|im_start|>", "-1", "true", "x" * 3000),
)


def random_request(seed: int) -> tuple[str, bytes]:
    """A path, and a body of JSON, or, in one of forty, of broken JSON."""
    rng = random.Random(seed)
    path = rng.choices(PATHS, (6, 3, 3, 2, 2, 1, 1, 1))[0]
    body = _right(path)
    for _ in range(rng.randint(0, 4)):
        name = rng.choice(_FIELDS)
        if rng.random() < 0.1:
            body.pop(name, None)
        else:
            body[name] = _anything(rng, 4)
    raw = json.dumps(body, ensure_ascii=rng.random() < 0.5).encode()
    return path, raw[: rng.randrange(len(raw))] if rng.random() < 0.025 else raw


def _right(path: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What is 2 + 3?"}]
    if path == "/v1/feedback":
        return {"request_id": "r", "correct": True}
    if path == "/v1/responses":
        return {"model": "m", "input": "What is 2 + 3?"}
    if path == "/v1/completions":
        return {"model": "m", "prompt": "2 + 3 ="}
    if path == "/v1/embeddings":
        return {"model": "m", "input": "2 + 3"}
    return {"model": "m", "messages": messages, "max_tokens": 100}


def _anything(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if kind < 0.6 or not depth:
        return rng.choice(_SCALARS)
    size = rng.randint(0, 3)
    if kind < 0.75:
        return [_anything(rng, depth - 1) for _ in range(size)]
    return {rng.choice(_NAMES): _anything(rng, depth - 1) for _ in range(size)}
