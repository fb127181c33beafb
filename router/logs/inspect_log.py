"""Inspect AI's logs: `.eval` archives and JSON files (docs/guides/evaluation-logs.md has versions).

A row per sample: its messages before the first answer, its score, and the tokens of all answers of
the evaluated model; those of scorers and of other roles do not count. Samples are read in turn.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO, cast

import orjson

from router.json_text import parse_json
from router.logs.configured_effort import configured_effort
from router.logs.json_document import members
from router.logs.json_object import Object, as_object, as_objects
from router.logs.log_options import LogOptions
from router.logs.row import OutcomeError, Row, Rows, Skipped
from router.logs.scores import Scores
from router.logs.zstandard import ZstdError, zipfile

_HEADERS = ("header.json", "_journal/start.json")
"""The latter is all that an interrupted run has."""
_ROUTES = {"openai-api": 2, "azureai": 1, "openai/azure": 2, "anthropic/bedrock": 2} | {
    "anthropic/vertex": 2, "google/vertex": 2, "hf-inference-providers": 1,
}  # fmt: skip
"""Parts of a model's name that say where it runs; of all other providers the first part only."""
_SCORES = {"c": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_ATTACHMENT = "attachment://"


def archive_rows(path: str, options: LogOptions, skipped: Skipped) -> Rows:
    """The rows of an `.eval` archive. Raises OutcomeError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            header = next((name for name in _HEADERS if name in names), None)
            if header is None:
                raise OutcomeError(f"{path}: a zip archive, but no log of Inspect AI")
            log = _Log(path, _object(archive.read(header)), options, skipped)
            for name in dict.fromkeys(archive.namelist()):  # rewritten members are listed twice
                if name.startswith("samples/"):
                    yield from log.rows(f"{path}:{name}", _object(archive.read(name)))
            log.close()
    except (zipfile.BadZipFile, ZstdError, EOFError, ValueError, RecursionError) as error:
        raise OutcomeError(f"{path}: the log is truncated or damaged: {error}") from error


def document_rows(path: str, stream: TextIO, options: LogOptions, skipped: Skipped) -> Rows:
    """The rows of a log in JSON. Raises OutcomeError."""
    header: dict[str, object] = {}
    log: _Log | None = None
    count = 0
    try:
        for name, value in members(stream, streamed=("samples",)):
            if name != "samples":
                header[name] = value
                continue
            count += 1
            log = log or _Log(path, header, options, skipped)
            yield from log.rows(f"{path}: sample {count}", as_object(value))
        if log is not None:
            log.close()
    except (ValueError, RecursionError) as error:
        raise OutcomeError(f"{path}: the log is truncated or damaged: {error}") from error


def _object(data: bytes) -> Object:
    try:
        return as_object(orjson.loads(data))
    except orjson.JSONDecodeError:  # NaN is what an unscored sample has
        return as_object(parse_json(data))


class _Log:
    """One log's header, and the rows of its samples."""

    def __init__(self, path: str, header: Object, options: LogOptions, skipped: Skipped) -> None:
        spec = as_object(header.get("eval"))
        plan = as_object(header.get("plan"))
        if not isinstance(spec.get("model"), str) or not isinstance(spec.get("task"), str):
            raise OutcomeError(f"{path}: the log names no model or no task")
        self._path, self._options, self._skipped = path, options, skipped
        self._model, self._task = str(spec["model"]), str(spec["task"])
        self._run = spec.get("eval_id")
        steps = [step.get("params") for step in as_objects(plan.get("steps"))]
        self._configurations = (
            *steps, plan.get("config"), spec.get("model_generate_config"), spec.get("model_args")
        )  # fmt: skip
        self._roles = {
            role
            for role, model in as_object(spec.get("model_roles")).items()
            if as_object(model).get("model") == self._model
        }
        self._scores = Scores(path, options.scores)

    def rows(self, location: str, sample: Object) -> Iterator[tuple[str, Row]]:
        """The sample's row, if it was answered and scored."""
        score = self._score(sample)
        if sample.get("error") is not None:
            self._skipped.reasons["samples that ended in an error"] += 1
        elif sample.get("invalidation") is not None:
            self._skipped.reasons["samples that were invalidated"] += 1
        elif score is None:
            self._skipped.reasons["samples without a score"] += 1
        else:
            calls = self._calls(sample)
            effort = configured_effort(*(call.get("config") for call in calls[:1]))
            effort = effort or configured_effort(*self._configurations)
            yield (
                location,
                {
                    "problem_id": f"{self._task}/{sample.get('id')}",
                    "task": self._task,
                    "question": sample.get("input"),
                    "messages": _prompt(sample),
                    "model": served_name(self._model),
                    "effort": self._options.effort_of(self._path, effort),
                    "generation": sample.get("uuid") or f"{self._run}/{sample.get('epoch')}",
                    "score": score,
                    **self._usage(sample, calls),
                },
            )

    def close(self) -> None:
        """Raise OutcomeError where no sample had the requested score."""
        self._scores.close()

    def _score(self, sample: Object) -> float | None:
        """The chosen score, from 0 to 1; None where there is none. Raises OutcomeError."""
        values: dict[str, object] = {}
        for name, score in as_object(sample.get("scores")).items():
            value = as_object(score).get("value")
            if isinstance(value, Mapping):
                values |= {f"{name}.{key}": v for key, v in cast("Object", value).items()}
            else:
                values[name] = value
        name = self._scores.chosen(values)
        value = None if name is None else values[name]
        if isinstance(value, str):
            value = _SCORES.get(value.strip().lower(), value)
        return self._scores.number(value)

    def _calls(self, sample: Object) -> list[Object]:
        """The model's answers: events of its own, outside of the scorers."""
        calls: list[Object] = []
        scoring: object = None
        for event in as_objects(sample.get("events")):
            kind = event.get("event")
            if kind == "span_begin" and event.get("type") in ("scorers", "scorer"):
                scoring = scoring or event.get("id")
            elif kind == "span_end" and event.get("id") == scoring:
                scoring = None
            elif kind == "model" and scoring is None and self._is_answer(event):
                calls.append(event)
        return calls

    def _is_answer(self, event: Object) -> bool:
        return (
            event.get("model") == self._model
            and event.get("role") is None
            and not event.get("error")
        )

    def _usage(self, sample: Object, calls: Sequence[Object]) -> dict[str, int | None]:
        """Completion and thinking tokens of all calls, or else of the sample."""
        usages = [
            usage
            for call in calls
            if (usage := as_object(as_object(call.get("output")).get("usage")))
        ]
        if usages:
            return _tokens(usages)
        total = as_object(as_object(sample.get("model_usage")).get(self._model))
        roles = as_object(sample.get("role_usage"))
        grading = [as_object(roles[role]) for role in self._roles if role in roles]
        if not total:
            usage = as_object(as_object(sample.get("output")).get("usage"))
            return _tokens([usage] if usage else [])
        spent = _tokens([total])
        for name, tokens in _tokens(grading).items() if grading else ():
            before = spent[name]
            spent[name] = None if before is None else max(before - (tokens or 0), 0)
        return spent


def _tokens(usages: Sequence[Object]) -> dict[str, int | None]:
    """Summed tokens; reasoning that a provider counts beside the output is added to it."""
    output, reasoning = _sum(usages, "output_tokens"), _sum(usages, "reasoning_tokens")
    if output is not None and reasoning is not None and reasoning > output:
        output += reasoning
    return {"tokens": output, "thinking_tokens": reasoning}


def _sum(usages: Sequence[Object], name: str) -> int | None:
    values = [usage.get(name) for usage in usages]
    counts = [int(v) for v in values if isinstance(v, int | float) and math.isfinite(v) and v >= 0]
    return sum(counts) if counts else None


def served_name(model: str) -> str:
    """The name by which a model is served: Inspect's without provider and service."""
    parts = model.split("/")
    route = _ROUTES.get("/".join(parts[:2]), _ROUTES.get(parts[0], 1))
    return "/".join(parts[route:]) or model


def _prompt(sample: Object) -> object:
    """The messages before the first answer, in OpenAI's form; the input where there are none."""
    attachments = as_object(sample.get("attachments"))
    messages: list[object] = []
    for message in as_objects(sample.get("messages")):
        if message.get("role") == "assistant" and message.get("source") != "input":
            break
        content = _resolved(message.get("content"), attachments)
        messages.append({"role": message.get("role"), "content": content})
    if messages:
        return messages
    source = sample.get("input")
    if isinstance(source, list):
        return [
            {"role": turn.get("role"), "content": _resolved(turn.get("content"), attachments)}
            for turn in as_objects(cast("object", source))
        ]
    return _resolved(source, attachments)


def _resolved(content: object, attachments: Object) -> object:
    """A message's content with the texts that the log keeps apart."""
    if isinstance(content, str) and content.startswith(_ATTACHMENT):
        return attachments.get(content.removeprefix(_ATTACHMENT), content)
    if isinstance(content, list):
        return [_resolved(part, attachments) for part in cast("list[object]", content)]
    if isinstance(content, Mapping):
        part = cast("Object", content)
        return {name: _resolved(value, attachments) for name, value in part.items()}
    return content
