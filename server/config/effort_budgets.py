"""The setting `effort_budgets`: the most thinking tokens of an effort, `low=1024,medium=4096`."""

import difflib
import itertools
import re
from collections.abc import Mapping
from typing import Annotated, cast

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from router.effort import EFFORTS, Effort, is_effort, rank
from server.http.json_codec import shown

_LARGEST = 2**31 - 1


def _read(value: object) -> dict[Effort, int]:
    """Text of pairs, or a table; in the order of the ladder."""
    pairs: list[tuple[str, object]]
    if isinstance(value, Mapping):
        pairs = [*cast("Mapping[str, object]", value).items()]
    elif isinstance(value, str):
        pairs = [_pair(text.strip()) for text in value.split(",") if text.strip()]
    else:
        raise ValueError("give pairs such as low=1024,medium=4096")  # noqa: TRY004 - pydantic's
    budgets: dict[Effort, int] = {}
    for name, tokens in pairs:
        if not is_effort(name):
            raise ValueError(f"'{name}' is no effort{_hint(name)}")
        if name == "none":
            raise ValueError("effort 'none' does not think, so that it has no budget: leave it out")
        if name in budgets:
            raise ValueError(f"effort '{name}' has two budgets: leave one out")
        budgets[name] = _tokens(name, tokens)
    ladder = sorted(budgets, key=rank)
    for lower, higher in itertools.pairwise(ladder):
        if budgets[lower] >= budgets[higher]:
            raise ValueError(
                f"the budget of '{higher}', {budgets[higher]}, is not above that of '{lower}', "
                f"{budgets[lower]}: a higher effort needs a larger budget"
            )
    return {effort: budgets[effort] for effort in ladder}


def _pair(text: str) -> tuple[str, str]:
    name, separator, tokens = text.partition("=")
    if not separator:
        raise ValueError(f"'{text}' is no pair: give an effort and its tokens, such as low=1024")
    return name.strip(), tokens.strip()


def _tokens(name: str, value: object) -> int:
    is_text = isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value)
    tokens = int(cast("str", value)) if is_text else value
    if type(tokens) is not int or not 1 <= tokens <= _LARGEST:
        raise ValueError(
            f"the budget of '{name}' must be a whole number of thinking tokens from 1 to "
            f"{_LARGEST}, not {shown(value)}"
        )
    return tokens


def _hint(name: str) -> str:
    similar = difflib.get_close_matches(name.lower(), EFFORTS, n=1)
    if similar:
        return f": did you mean {similar[0]}?"
    return ": the efforts are " + ", ".join(EFFORTS)


EffortBudgets = Annotated[dict[Effort, int], NoDecode, BeforeValidator(_read)]
