"""lm-evaluation-harness' `--log_samples` files: samples_TASK_DATE.jsonl beside results_DATE.json.

A row per document, scored by one metric behind one filter. The harness logs no token counts: they
come from the text of the responses, thinking from what stands before `</think>`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from router.json_text import parse_json
from router.logs.configured_effort import arguments, configured_effort
from router.logs.json_object import Object, as_object, as_objects
from router.logs.log_options import LogOptions
from router.logs.row import OutcomeError, Row, Rows, Skipped
from router.logs.scores import Scores

_DATE = re.compile(r"_(\d{4}-\d\d-\d\dT[\d\-.:]+)\.jsonl")
_TASK = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT")
_THINK_END = "</think>"
_VOTES = ("majority_vote",)
_NO_METRICS = frozenset(
    ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics")
) | {"doc_hash", "prompt_hash", "target_hash"}
_ESTIMATED = (
    "rows of lm-evaluation-harness have tokens that are estimated from the length of the logged "
    "response; reasoning that the engine returned apart from it is not counted"
)


def is_sample(names: Sequence[str]) -> bool:
    """Whether an object with these names is a line of a samples file."""
    return "doc_id" in names and ("doc" in names or "resps" in names)


def is_results(names: Sequence[str]) -> bool:
    """Whether an object with these names is a results file."""
    return [*names[:1]] == ["results"]


def sample_rows(
    path: str, lines: Rows, model: str | None, options: LogOptions, skipped: Skipped
) -> Rows:
    """The rows of a samples file, from its `lines`; `model` is its model if nothing names one.

    Raises OutcomeError.
    """
    run = _Run(path, model, options, skipped)
    for location, fields in lines:
        row = run.row(fields)
        if row is not None:
            yield location, row
    run.close()


class _Run:
    """The configuration of one samples file, and its rows."""

    def __init__(self, path: str, model: str | None, options: LogOptions, skipped: Skipped) -> None:
        self._path, self._options, self._skipped = path, options, skipped
        name = Path(path).name
        results = _results(Path(path))
        config = as_object(results.get("config"))
        task = _TASK.match(name)
        self._task = task[1] if task else _only(as_object(results.get("configs"))) or name
        task_config = as_object(as_object(results.get("configs")).get(self._task))
        self._arguments = arguments(config.get("model_args"))
        self._model = _model_name(results, self._arguments) or model
        if self._model is None:
            raise OutcomeError(
                f"{path}: there is no results_*.json of the same date beside it: put it there, or "
                "name the model with --model"
            )
        self._configurations = (
            config.get("gen_kwargs"), task_config.get("generation_kwargs"), self._arguments
        )  # fmt: skip
        self._think_end = str(self._arguments.get("think_end_token") or _THINK_END)
        self._votes = _voting_filters(task_config)
        self._scores = Scores(path, options.scores)

    def row(self, fields: Object) -> Row | None:
        """The row of a document behind one filter; None where it has no chosen score."""
        metrics = _metrics(fields)
        name = self._scores.chosen(metrics)
        responses = _responses(fields)
        if not responses:
            self._skipped.reasons["rows without a generated text (loglikelihood tasks)"] += 1
            return None
        score = None if name is None else self._scores.number(metrics[name])
        if score is None:
            self._skipped.reasons["rows without a score"] += not metrics
            return None
        prompt, settings = _request(fields)
        effort = configured_effort(settings, *self._configurations)
        return {
            "problem_id": f"{self._task}/{fields.get('doc_id')}",
            "task": self._task,
            "question": fields.get("doc_hash") or fields.get("doc"),
            "messages": prompt,
            "model": self._model,
            "effort": self._options.effort_of(self._path, effort),
            "generation": Path(self._path).name,
            "score": score,
            **self._tokens(responses, str(fields.get("filter"))),
        }

    def close(self) -> None:
        """Raise OutcomeError where no row had the requested score."""
        self._scores.close()

    def _tokens(self, responses: list[str], filter_name: str) -> dict[str, int | None]:
        """Tokens of the response that was scored, of all where they voted."""
        scored = responses if filter_name in self._votes else responses[:1]
        if not self._options.is_exact:
            self._skipped.notes[_ESTIMATED] += 1
        count = self._options.tokens
        thoughts = [text.rpartition(self._think_end)[0] for text in scored]
        thinks = any(self._think_end in text for text in scored)
        return {
            "tokens": sum(map(count, scored)),
            "thinking_tokens": sum(map(count, thoughts)) if thinks else None,
        }


def _results(path: Path) -> Object:
    """The results file of a samples file: of the same date, or the only one beside it."""
    date = _DATE.search(path.name)
    files = sorted(path.parent.glob(f"*{date[1]}.json")) if date else []
    files = files or sorted(path.parent.glob("results*.json"))
    if len(files) != 1:
        return {}
    try:
        return as_object(parse_json(files[0].read_bytes()))
    except (OSError, ValueError) as error:
        raise OutcomeError(f"{files[0]} cannot be read: {error}") from error


def _model_name(results: Object, model_arguments: Object) -> str | None:
    """The name by which the model was called, else that of its weights."""
    names = (
        model_arguments.get("model"), model_arguments.get("pretrained"), results.get("model_name")
    )  # fmt: skip
    return next((name for name in names if isinstance(name, str) and name), None)


def _voting_filters(task: Object) -> set[str]:
    """The filters that answer by a vote of all repeats."""
    return {
        str(pipeline.get("name"))
        for pipeline in as_objects(task.get("filter_list"))
        if any(step.get("function") in _VOTES for step in as_objects(pipeline.get("filter")))
    }


def _metrics(fields: Object) -> dict[str, object]:
    """Values by METRIC, or by METRIC,FILTER as in the harness' table where there are filters."""
    listed = fields.get("metrics")
    names = (
        cast("list[object]", listed) if isinstance(listed, list) else fields.keys() - _NO_METRICS
    )
    behind = fields.get("filter")
    suffix = "" if behind in (None, "none") else f",{behind}"
    values = {f"{name}{suffix}": fields.get(str(name)) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _responses(fields: Object) -> list[str]:
    """The generated texts of a document, one per repeat."""
    requests = fields.get("resps")
    first = cast("list[object]", requests)[:1] if isinstance(requests, list) else []
    repeats = cast("list[object]", first[0]) if first and isinstance(first[0], list) else first
    return [text for text in repeats if isinstance(text, str)]


def _request(fields: Object) -> tuple[object, object]:
    """The prompt or messages of a document's first request, and its generation settings."""
    first = as_object(as_object(fields.get("arguments")).get("gen_args_0"))
    prompt, settings = first.get("arg_0"), first.get("arg_1")
    if isinstance(prompt, list):
        parts = cast("list[object]", prompt)
        prompt = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else parts
    if isinstance(prompt, str) and prompt.startswith('[{"role"'):
        try:
            prompt = parse_json(prompt)
        except ValueError:
            return prompt, settings
    return prompt, settings


def _only(configurations: Object) -> str | None:
    return next(iter(configurations)) if len(configurations) == 1 else None
