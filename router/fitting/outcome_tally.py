"""What was left out of outcomes that were read, and whether the rest can be used."""

from collections import Counter
from dataclasses import dataclass, field

from router.logs.outcome_file import listed
from router.logs.row import OutcomeError, Skipped

WITHOUT_TOKENS = "rows without tokens"
WITHOUT_PROMPT = "rows without a prompt"
_MAX_BROKEN_SHARE = 0.1
"""A set with a larger share of broken rows is refused."""
_MODELS_SHOWN = 50


@dataclass
class OutcomeTally(Skipped):
    """What was left out, and counts of the rows that are used."""

    duplicates: list[str] = field(default_factory=list[str])
    models: Counter[str] = field(default_factory=Counter[str])
    usable: int = 0
    thinking: int = 0
    completion: int = 0

    @property
    def skipped(self) -> int:
        return len(self.broken) + len(self.duplicates) + self.reasons.total()


def refuse(files: str, model: str | None, tally: OutcomeTally) -> None:
    """Raise OutcomeError where the set as a whole cannot be used."""
    models = tally.models
    lines = models.total() + len(tally.broken)
    if len(tally.broken) > max(_MAX_BROKEN_SHARE * lines, 1) or (tally.broken and not models):
        raise OutcomeError(
            f"{files}: {len(tally.broken)} of {lines} lines are broken: {listed(tally.broken)}"
        )
    if model is None and len(models) > 1:
        raise OutcomeError(
            f"{files}: rows of {len(models)} models; choose one with --model: "
            + listed((name for name, _ in models.most_common()), _MODELS_SHOWN)
        )
    if model is not None and models and model not in models:
        raise OutcomeError(
            f"{files}: no rows of model {model!r}; there are: {listed(models, _MODELS_SHOWN)}"
        )
    if not tally.usable:
        _explain_nothing(files, tally)


def _explain_nothing(files: str, tally: OutcomeTally) -> None:
    """Raise OutcomeError for a set without a usable row."""
    if tally.reasons[WITHOUT_PROMPT]:
        raise OutcomeError(
            f"{files}: no row has a prompt, and a router learns from prompts: name a file of JSON "
            "Lines with problem_id and prompt as well (of a ledger, the x-request-id is the "
            "problem_id); tops audit needs no prompts"
        )
    if set(tally.reasons) == {WITHOUT_TOKENS}:
        raise OutcomeError(f"{files}: no row has tokens")
    counts = "; ".join(f"{count} {reason}" for reason, count in tally.reasons.items() if count)
    raise OutcomeError(f"{files}: there are no outcomes" + (f" ({counts})" if counts else ""))


def warnings_of(tally: OutcomeTally) -> tuple[str, ...]:
    warnings: list[str] = []
    if tally.broken:
        warnings.append(f"{len(tally.broken)} broken lines skipped: {listed(tally.broken)}")
    if tally.duplicates:
        warnings.append(
            f"{len(tally.duplicates)} repeated rows skipped, only the first of each is used: "
            f"{listed(tally.duplicates)}"
        )
    warnings += [f"{count} {reason} skipped" for reason, count in tally.reasons.items() if count]
    warnings += [f"{count} {note}" for note, count in tally.notes.items()]
    if tally.thinking and tally.completion:
        warnings.append(
            f"{tally.completion} rows have no thinking_tokens, {tally.thinking} do: "
            "completion tokens are used instead"
        )
    return tuple(warnings)
