"""One generation over HTTP: sends a problem at an effort, retries, and makes an outcome row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from zlib import crc32

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random_exponential,
)

from models.outcomes.problem_sets import Problem
from models.outcomes.reasoning import count_thinking, split_reasoning
from router.finish_reason import finish_meaning
from router.kind import system_kind, system_prompt
from router.messages import read_messages
from router.token_count import token_count

_ATTEMPTS = 6
_RETRIED_STATUSES = (408, 409, 429, 500, 502, 503, 504)
_FATAL_STATUSES = (401, 403, 404)
"""Statuses that every problem would get; any other 4xx refuses one problem only."""

_BACKOFF = wait_exponential(multiplier=0.25) + wait_random_exponential(multiplier=0.25)
"""Seconds before retry n = 1, 2, ...: uniform in [2**n / 8, 2**n / 4]."""

_MAX_RETRY_AFTER_SECONDS = 300.0
_CONNECT_SECONDS = 10
_READ_SECONDS = 3_600
"""A completion arrives in one piece, after the engine's queue and all of its thinking."""


class GenerateError(Exception):
    """The run cannot go on; the message says why."""


class RefusedError(GenerateError):
    """The endpoint refuses this problem, but may accept others."""


@dataclass(frozen=True)
class GenerationTask:
    """One generation: a problem at an effort; `sample` numbers repeated ones."""

    problem: Problem
    effort: str
    sample: int

    @property
    def key(self) -> tuple[str, str, int]:
        """Identifies the generation in an outcome file."""
        return self.problem.problem_id, self.effort, self.sample


@dataclass(frozen=True)
class RequestSettings:
    """What all requests of a run have in common.

    The effort is sent as `reasoning_effort`, or as its system prompt where `system` is given. The
    effort `auto` sends neither. `system_message` opens every request, whatever its effort, unless
    the problem has its own. `kind` is the kind of traffic of problems without one. `sampling` are
    fields of the request besides the temperature; `seed` gives each generation one of its own.
    `template_effort` also sends the effort as an argument of the chat template, as llama.cpp takes
    it.
    """

    url: str
    model: str
    temperature: float
    weights: str | None
    keep_responses: bool
    max_tokens: int | None = None
    api_key: str | None = None
    system: Mapping[str, str] | None = None
    system_message: str | None = None
    kind: str | None = None
    sampling: Mapping[str, float] = field(default_factory=dict[str, float])
    seed: int | None = None
    template_effort: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The key goes to `url` only: redirects are not followed.

        A gateway is asked for no budget, so that the router that it has does not cut the answers
        to which another is fitted. Engines ignore that header, and refuse fields they do not know.
        """
        key = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {**key, "x-tops-budget": "-1"}

    def opening(self, problem: Problem | None = None) -> list[dict[str, str]]:
        """The messages before those of a problem: its system message, or the run's, if any."""
        text = (problem.system if problem else None) or self.system_message
        return [{"role": "system", "content": text}] if text else []

    def kind_of(self, problem: Problem) -> str | None:
        """The kind of traffic: the problem's, the run's, or that of the system message."""
        opening = read_messages(self.opening(problem))
        return problem.kind or self.kind or system_kind(system_prompt(opening))

    def body(self, task: GenerationTask) -> dict[str, Any]:
        """The chat completion request for a task."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                *self.opening(task.problem),
                *messages(task.problem.prompt, task.effort, self.system),
            ],
            "temperature": self.temperature,
            **self.sampling,
        }
        if self.seed is not None:
            body["seed"] = crc32(repr((self.seed, *task.key)).encode()) >> 1
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.system is None and task.effort != "auto":
            body["reasoning_effort"] = task.effort
            if self.template_effort:
                body["chat_template_kwargs"] = {"reasoning_effort": task.effort}
        return body


def messages(prompt: str, effort: str, system: Mapping[str, str] | None) -> list[dict[str, str]]:
    """A one-turn conversation, after the effort's system prompt where there is one."""
    user = {"role": "user", "content": prompt}
    if system is None or effort not in system:
        return [user]
    return [{"role": "system", "content": system[effort]}, user]


def http_client(concurrency: int) -> httpx.AsyncClient:
    """A client for `concurrency` requests at a time, each of which may take an hour."""
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS, pool=None),
    )


async def complete(
    http: httpx.AsyncClient, settings: RequestSettings, task: GenerationTask
) -> dict[str, Any]:
    """The chat completion for a task; failed connections and busy engines are retried.

    Raises:
        RefusedError: the endpoint refused this problem.
        GenerateError: the endpoint failed `_ATTEMPTS` times, refuses every problem, took longer
            than `_READ_SECONDS`, or sent no completion with its usage.
    """

    async def post() -> httpx.Response:
        response = await http.post(
            f"{settings.url}/chat/completions", json=settings.body(task), headers=settings.headers
        )
        if _has_failed(response.raise_for_status()):
            raise httpx.RemoteProtocolError(f"the answer ended in an error: {response.text[:300]}")
        return response

    description = f"{task.problem.problem_id} at {task.effort}"
    retrying = AsyncRetrying(
        retry=retry_if_exception(_is_retried),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=_wait_seconds,
        reraise=True,
    )
    try:
        completion = _completion(settings, await retrying(post))
    except httpx.HTTPStatusError as error:
        status, failure = error.response.status_code, _status_text(error.response)
        if 400 <= status < 500 and status not in (*_RETRIED_STATUSES, *_FATAL_STATUSES):
            raise RefusedError(f"{description}: {failure}") from error
        raise GenerateError(f"{settings.url} did not answer {description}: {failure}") from error
    except httpx.ReadTimeout as error:
        raise GenerateError(
            f"{settings.url} did not answer {description} in {_READ_SECONDS} s: lower the "
            "concurrency or max_tokens"
        ) from error
    except httpx.TransportError as error:
        failure = f"{type(error).__name__} {error}"
        raise GenerateError(f"{settings.url} did not answer {description}: {failure}") from error
    await count_thinking(http, settings.url, settings.model, completion)
    return completion


def _has_failed(response: httpx.Response) -> bool:
    """Whether an answer of status 200 holds an error, as OpenRouter's do: its text is cut."""
    try:
        completion: dict[str, Any] = response.json()
        choices: list[dict[str, Any]] = completion.get("choices") or [{}]
        errors = [completion.get("error"), choices[0].get("error")]
        return any(errors) or finish_meaning(choices[0].get("finish_reason")) == "error"
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def _is_retried(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _RETRIED_STATUSES
    # a request that timed out would take as long again
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.ReadTimeout)


def _wait_seconds(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    requested = 0.0
    if isinstance(error, httpx.HTTPStatusError):
        requested = parse_retry_after(error.response.headers.get("retry-after", ""))
    return max(requested, _BACKOFF(state))


def _status_text(response: httpx.Response) -> str:
    return f"HTTP {response.status_code}: {response.text[:300]}"


def parse_retry_after(header: str) -> float:
    """Seconds of a Retry-After header, a number or a date, at most `_MAX_RETRY_AFTER_SECONDS`.

    0 for any other text.
    """
    try:
        if header.isdecimal():
            seconds = float(header)
        else:
            date = parsedate_to_datetime(header).astimezone(UTC)
            seconds = (date - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)


def _completion(settings: RequestSettings, response: httpx.Response) -> dict[str, Any]:
    try:
        completion = response.json()
        _check(completion)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise GenerateError(
            f"{settings.url} sent no chat completion with its usage: {response.text[:300]}"
        ) from error
    return completion


def _check(completion: dict[str, Any]) -> None:
    """Raises LookupError, TypeError or AttributeError where a field that is read is missing."""
    usage: dict[str, Any] = completion["usage"]
    details: dict[str, Any] = usage.get("completion_tokens_details") or {}
    _ = usage["completion_tokens"], details.get("reasoning_tokens")
    if not isinstance(completion["choices"][0]["message"].get("content"), str | None):
        raise TypeError("content is not text")


def conversation(task: GenerationTask, settings: RequestSettings) -> list[dict[str, str]] | None:
    """The messages that a router sees at serving; None where that is the prompt alone."""
    opening = settings.opening(task.problem)
    if not opening:
        return None
    return [*opening, {"role": "user", "content": task.problem.prompt}]


def visible_answer(completion: dict[str, Any]) -> tuple[str, bool]:
    """The answer's text without thoughts, and whether `max_tokens` cut it off."""
    choice = completion["choices"][0]
    _, text = split_reasoning(choice["message"])
    return text, finish_meaning(choice.get("finish_reason")) == "cut"


def reasoning_text(completion: dict[str, Any]) -> str | None:
    """The reasoning, wherever the engine puts it."""
    return split_reasoning(completion["choices"][0]["message"])[0]


def outcome_row(
    settings: RequestSettings,
    task: GenerationTask,
    completion: dict[str, Any],
    correct: bool | None,
) -> dict[str, Any]:
    """The outcome contract's row for a completion; `correct` is None before it is judged.

    Where responses are kept, the row also has `reasoning`.
    """
    usage = completion["usage"]
    details: dict[str, Any] = usage.get("completion_tokens_details") or {}
    text, truncated = visible_answer(completion)
    return {
        "problem_id": task.problem.problem_id,
        "prompt": task.problem.prompt,
        "messages": conversation(task, settings),
        "answer": task.problem.answer,
        "model": settings.model,
        "effort": task.effort,
        "sample": task.sample,
        "correct": None if correct is None else int(correct),
        "tokens": token_count(usage["completion_tokens"]),
        "thinking_tokens": token_count(details.get("reasoning_tokens")),
        "response": text if settings.keep_responses else None,
        **({"reasoning": reasoning_text(completion)} if settings.keep_responses else {}),
        "truncated": truncated,
        "weights": settings.weights,
        "kind": settings.kind_of(task.problem),
    }
