"""`tops audit --engine URL`: do the efforts of an engine do anything?

The effort canary's measurement (`server.engines.effort_effects`) with more prompts. Each reply is
appended to a file as soon as it is complete, without text, and a second run goes on.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from router.effort import EFFORTS, Effort
from router.prompt_lines import read_prompts
from server.config.load_settings import settings_of_options
from server.config.model_template import dialect_of, template_efforts, with_template
from server.config.settings import Settings, variable_of
from server.engines.dialect import Dialect
from server.engines.effort_effects import EffortEffects, effects
from server.engines.effort_trial import Trial, pairs, read_trial, room, trial_body
from server.engines.engine import Engine, NoModels
from server.engines.probing import ask
from server.errors import EngineError

_KEY_VARIABLE = variable_of("upstream_api_key")
_MAX_REASON = 300
_UNEXPECTED = (
    "the engine's answer is no chat completion with its usage: check --engine and --dialect"
)


class AuditError(Exception):
    """The audit cannot go on; what is measured stays, and the message says what to do."""


@dataclass(frozen=True)
class EffortAudit:
    """What is asked: `prompts` at each of the efforts, `concurrency` questions at a time."""

    prompts: Sequence[str]
    max_tokens: int
    temperature: float
    concurrency: int


class _TrialFile:
    """Trials of one model under the audit's conditions, in JSON Lines."""

    def __init__(self, path: Path | None, conditions: Mapping[str, object]) -> None:
        self._path = path
        self._conditions = dict(conditions)

    def read(self) -> dict[tuple[str, str], Trial]:
        """The trials that are there, by effort and prompt.

        Raises:
            AuditError: the file holds something else.
        """
        if self._path is None or not self._path.exists():
            return {}
        trials: dict[tuple[str, str], Trial] = {}
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            if number == len(lines) and not line.endswith("\n"):
                break  # of a run that was killed while it wrote
            try:
                row = cast("dict[str, Any]", json.loads(line))
                if all(row[name] == value for name, value in self._conditions.items()):
                    trials[row["effort"], row["prompt"]] = Trial(**row["trial"])
            except (ValueError, KeyError, TypeError) as error:
                raise AuditError(
                    f"{self._path}:{number} is no line of an audit: pass another --out"
                ) from error
        if lines and not lines[-1].endswith("\n"):
            self._path.write_text("".join(lines[:-1]), encoding="utf-8")
        return trials

    def add(self, effort: str, prompt: str, trial: Trial) -> None:
        if self._path is None:
            return
        row = {**self._conditions, "effort": effort, "prompt": prompt, "trial": asdict(trial)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def audit_settings(
    url: str, dialect: str, model: str | None, efforts: str | None
) -> tuple[Settings, Dialect]:
    """The settings of a gateway in front of that engine, and how the engine spells its efforts.

    The key is read from the environment, and nothing from `tops.toml`.

    Raises:
        SettingsError: they cannot be used.
    """
    options: dict[str, Any] = {"upstream": url, "dialect": dialect, "port": 0}
    options |= {"model": model} if model else {}
    if efforts:  # the highest is the baseline, which the audit does not use
        named = [word.strip() for word in efforts.split(",")]
        known = [effort for effort in EFFORTS if effort in named]
        options |= {"efforts": efforts} | ({"baseline_effort": known[-1]} if known else {})
    if _KEY_VARIABLE in os.environ:
        options["upstream_api_key"] = os.environ[_KEY_VARIABLE]
    spelled = {"upstream": "--engine", "upstream_api_key": _KEY_VARIABLE}
    settings = settings_of_options(options, spelled)
    template = template_efforts(settings)
    settings = with_template(settings, template)
    return settings, dialect_of(settings, template)


def read_audit_prompts(lines: TextIO) -> list[str]:
    """The different prompts of JSON Lines.

    Raises:
        AuditError: a line has no `prompt`.
    """
    prompts: dict[str, None] = {}
    try:
        for place, fields, _ in read_prompts(lines, lines.name):
            prompt = fields.get("prompt")
            if not isinstance(prompt, str) or not prompt.strip():
                raise AuditError(f"{place}: there is no prompt: each line needs its text")
            prompts[prompt] = None
    except ValueError as error:
        raise AuditError(str(error)) from error
    return list(prompts)


async def run_audit(
    audit: EffortAudit,
    settings: Settings,
    dialect: Dialect,
    file: Path | None,
    show: Callable[[int, int], None],
) -> dict[str, Any]:
    """Ask the engine what is not in `file` yet; the object of `tops audit --engine URL --json`.

    Args:
        audit: what is asked.
        settings: name the engine and its efforts.
        dialect: how it spells them.
        file: where the trials are; None keeps none.
        show: called with the number of trials that are there, and that of all.

    Raises:
        AuditError: the engine does not answer, or refuses; the message says why.
    """
    secret = settings.upstream_api_key
    api_key = secret.get_secret_value() if secret else None
    engine = Engine(settings.upstream[0], api_key, settings.upstream_timeout)
    async with engine.connected():
        model = await _model(engine, settings.model)
        context = engine.model_info.context if engine.model_info else None
        limits = {"max_tokens": audit.max_tokens, "temperature": audit.temperature}
        trials = _TrialFile(file, {"model": model, **limits})
        finished = trials.read()
        prompts: dict[tuple[Effort, str], str] = {
            (effort, hashlib.sha256(prompt.encode()).hexdigest()[:16]): prompt
            for prompt, effort in pairs(settings.efforts, audit.prompts)
        }
        missing = iter([key for key in prompts if key not in finished])
        show(len(prompts.keys() & finished.keys()), len(prompts))

        async def ask_missing() -> None:
            for effort, digest in missing:
                prompt = prompts[effort, digest]
                limit = room(context, prompt, audit.max_tokens)
                body = trial_body(dialect, model, effort, prompt, limit, audit.temperature)
                trial = await _ask(engine, dialect, body)
                finished[effort, digest] = trial
                trials.add(effort, digest, trial)
                show(len(prompts.keys() & finished.keys()), len(prompts))

        await _together(ask_missing() for _ in range(audit.concurrency))
    by_effort: dict[Effort, dict[str, Trial]] = {effort: {} for effort in settings.efforts}
    for effort, digest in prompts:
        by_effort[effort][digest] = finished[effort, digest]
    return _document(engine, settings, audit, model, effects(by_effort))


async def _together(awaitables: Iterable[Any]) -> None:
    """Run all; the first failure cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for task in awaitables:
                group.create_task(task)
    except* AuditError as errors:
        raise errors.exceptions[0] from errors


async def _model(engine: Engine, name: str | None) -> str:
    try:
        models = await engine.models()
    except NoModels as error:
        raise AuditError(f"{engine.address} cannot be measured: {error}") from error
    names = [info.model for info in models]
    if name is None and len(names) > 1:
        raise AuditError(f"{engine.address} serves several models: pass one as --model")
    if name is not None and name not in names:
        raise AuditError(f"{engine.address} does not serve the model {name}, but {names[0]}")
    engine.model_info = next(info for info in models if name in (None, info.model))
    return engine.model_info.model


async def _ask(engine: Engine, dialect: Dialect, body: dict[str, Any]) -> Trial:
    try:
        reply = await ask(engine, dialect, body, unlimited=True)
    except EngineError as error:
        raise AuditError(f"{engine.address} did not answer: {error}") from error
    trial = read_trial(reply.answer) if reply.status == 200 else None
    if trial is None:
        failure = _UNEXPECTED
        if reply.status != 200:
            failure = f"HTTP {reply.status} {json.dumps(reply.answer)[:_MAX_REASON]}"
        raise AuditError(f"{engine.address} did not answer an effort: {failure}")
    return trial


def _document(
    engine: Engine, settings: Settings, audit: EffortAudit, model: str, measured: EffortEffects
) -> dict[str, Any]:
    return {
        "engine": engine.address,
        "dialect": settings.dialect,
        "model": model,
        "prompts": len(audit.prompts),
        "max_tokens": audit.max_tokens,
        "temperature": audit.temperature,
        "confidence": 0.95,
        "measure": "completion_tokens" if measured.counts_all else "thinking_tokens",
        "efforts": measured.as_json(),
        "offered": [level.effort for level in measured.levels if not level.stand_in],
    }


def effort_table(document: Mapping[str, Any]) -> str:
    """The object of `run_audit` as lines of text."""
    measure = "thinking" if document["measure"] == "thinking_tokens" else "completion"
    rows = [("effort", f"{measure} tokens (median)", "cut", "times the lower", "verdict")]
    for effort, level in document["efforts"].items():
        ends = level["interval"]
        tokens = f"{level['thinking_tokens']:g}"
        tokens += f" [{ends[0]:g}, {ends[1]:g}]" if ends else ""
        rows.append((effort, tokens, str(level["cut"]), _ratio(level), level["verdict"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += ["", *(level["detail"] for level in document["efforts"].values())]
    return "\n".join((
        f"{document['model']} at {document['engine']}: {document['prompts']} prompts",
        *lines,
        "",
        "The verdicts hold together with confidence 0.95. Medians have 95 % intervals each.",
        "",
        f"offered to a router: --efforts {','.join(document['offered'])}",
    ))  # fmt: skip


def _ratio(level: Mapping[str, Any]) -> str:
    if level["ratio"] is None:
        return ""
    low, high = ("?" if end is None else f"{end:g}" for end in level["ratio_interval"])
    return f"{level['ratio']:g} [{low}, {high}]"
