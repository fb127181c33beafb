"""One generation over HTTP: a problem put to a model at an effort, retried, as an outcome row."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from models.outcomes.problem_sets import Problem

_RETRIES = 6
_RETRIED = (408, 409, 429, 500, 502, 503, 504)
_FATAL = (401, 403, 404)
_LONGEST_WAIT = 300.0
"""Seconds; who is asked to wait longer is better told so."""

_CONNECT_SECONDS, _ANSWER_SECONDS = 10, 3_600
"""An answer comes in one piece, after all its thinking and the engine's queue."""


class GenerateError(Exception):
    """The run cannot go on; the message says why."""


class Refused(GenerateError):  # noqa: N818 - reads as what it says
    """The endpoint refuses this problem; others may do."""


@dataclass(frozen=True)
class Job:
    """One generation to be made."""

    problem: Problem
    effort: str
    sample: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from all others in an outcome file."""
        return self.problem.problem_id, self.effort, self.sample


@dataclass(frozen=True)
class Request:
    """What every request of a run has in common.

    An effort is told as `reasoning_effort`, or where `system` is given by its system prompt there;
    `auto` is told by saying nothing.
    """

    url: str
    model: str
    temperature: float
    weights: str | None
    keep_responses: bool
    max_tokens: int | None = None
    api_key: str | None = None
    system: Mapping[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The key goes to `url` only: redirects are not followed."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def body(self, job: Job) -> dict[str, Any]:
        """The chat completion that is asked for."""
        told: dict[str, Any] = {} if self.max_tokens is None else {"max_tokens": self.max_tokens}
        if self.system is None and job.effort != "auto":
            told["reasoning_effort"] = job.effort
        return {
            "model": self.model,
            "messages": messages(job.problem.prompt, job.effort, self.system),
            "temperature": self.temperature,
            **told,
        }


def messages(prompt: str, effort: str, system: Mapping[str, str] | None) -> list[dict[str, str]]:
    """The conversation that asks a prompt, with the effort's system prompt where there is one."""
    asked = [{"role": "user", "content": prompt}]
    if system is None or effort not in system:
        return asked
    return [{"role": "system", "content": system[effort]}, *asked]


def client(concurrency: int) -> httpx.AsyncClient:
    """An HTTP client for so many requests at a time, each of which may take an hour."""
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS, pool=None),
    )


async def ask(http: httpx.AsyncClient, request: Request, job: Job) -> dict[str, Any]:
    """The completion.

    Raises:
        Refused: the endpoint answered this problem with an error that others may not get.
        GenerateError: the endpoint kept failing, refuses everybody, or sent no completion with
            its usage.
    """
    failure, wait = "", 0.0
    for attempt in range(_RETRIES):
        if attempt:
            await asyncio.sleep(max(wait, 2**attempt * random.uniform(0.125, 0.25)))
        try:
            answer = await http.post(
                f"{request.url}/chat/completions", json=request.body(job), headers=request.headers
            )
        except httpx.ReadTimeout:  # again would take as long
            failure = f"no answer in {_ANSWER_SECONDS} s: lower the concurrency or max_tokens"
            break
        except httpx.TransportError as error:
            failure, wait = f"{type(error).__name__} {error}", 0.0
            continue
        if answer.status_code == 200:
            return _completion(request, answer)
        failure = f"HTTP {answer.status_code}: {answer.text[:300]}"
        if 400 <= answer.status_code < 500 and answer.status_code not in (*_RETRIED, *_FATAL):
            raise Refused(f"{job.problem.problem_id} at {job.effort}: {failure}")
        if answer.status_code not in _RETRIED:
            break
        wait = retry_after(answer.headers.get("retry-after", ""))
    asked = f"{job.problem.problem_id} at {job.effort}"
    raise GenerateError(f"{request.url} did not answer {asked}: {failure}")


def retry_after(header: str) -> float:
    """Seconds that a Retry-After header asks for, in either of its forms, within a bound.

    0 for any other text.
    """
    try:
        if header.isdecimal():
            seconds = float(header)
        else:
            when = parsedate_to_datetime(header).astimezone(UTC)
            seconds = (when - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _completion(request: Request, answer: httpx.Response) -> dict[str, Any]:
    try:
        completion = answer.json()
        _check(completion)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise GenerateError(
            f"{request.url} sent no chat completion with its usage: {answer.text[:300]}"
        ) from error
    return completion


def _check(completion: dict[str, Any]) -> None:
    """Raises LookupError, TypeError or AttributeError where it has not what is read of one."""
    usage: dict[str, Any] = completion["usage"]
    details: dict[str, Any] = usage.get("completion_tokens_details") or {}
    _ = usage["completion_tokens"], details.get("reasoning_tokens")
    if not isinstance(completion["choices"][0]["message"].get("content"), str | None):
        raise TypeError("content is no text")


def answered(completion: dict[str, Any]) -> tuple[str, bool]:
    """The visible answer, and whether it was cut off."""
    choice = completion["choices"][0]
    return choice["message"].get("content") or "", choice.get("finish_reason") == "length"


def reasoning_of(completion: dict[str, Any]) -> str | None:
    """The reasoning's text, by either of its names on the wire."""
    message = completion["choices"][0]["message"]
    return message.get("reasoning") or message.get("reasoning_content")


def outcome(
    request: Request, job: Job, completion: dict[str, Any], correct: bool | None
) -> dict[str, Any]:
    """The outcome contract's row for one completion, judged or not yet.

    Where responses are kept, a row has `reasoning` too.
    """
    usage = completion["usage"]
    details: dict[str, Any] = usage.get("completion_tokens_details") or {}
    text, truncated = answered(completion)
    return {
        "problem_id": job.problem.problem_id,
        "prompt": job.problem.prompt,
        "messages": None,
        "answer": job.problem.answer,
        "model": request.model,
        "effort": job.effort,
        "sample": job.sample,
        "correct": None if correct is None else int(correct),
        "tokens": usage["completion_tokens"],
        "thinking_tokens": details.get("reasoning_tokens"),
        "response": text if request.keep_responses else None,
        **({"reasoning": reasoning_of(completion)} if request.keep_responses else {}),
        "truncated": truncated,
        "weights": request.weights,
    }
