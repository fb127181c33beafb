"""The choice whose text, rather than letter, a clause or a response gives."""

import re
from collections.abc import Mapping, Sequence

from router.answers.clause import affirmed, is_denial, without_reason
from router.answers.conclusion import concluded_number
from router.answers.notation import plain, unmarked
from router.answers.number import Number, committed_number, lone_number
from router.answers.phrase import concludes_phrase, is_phrase, normal

_LISTED = re.compile(
    r"^[ \t]*(?:[-*•][ \t]+)?\(?(?P<letter>[A-Z])(?:[).:]|\s[-–])[ \t]*(?P<text>\S.*?)[ \t]*$",
    re.MULTILINE,
)
_BARE = re.compile(r"\W*(?P<letter>[A-Za-z])\W*")
_LABEL = re.compile(r"\W*[a-z]\)")
_DEFINITION = re.compile(r"(?<!\w)[A-Z]\s*=")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lettered(texts: Sequence[str]) -> dict[str, str]:
    """Choices by letter: of texts that begin with their letters, "B) 65", the parts behind them."""
    marked = [_LISTED.fullmatch(text) for text in texts]
    if all(match and match["letter"] == _LETTERS[n] for n, match in enumerate(marked)):
        return {match["letter"]: match["text"] for match in marked if match}
    return dict(zip(_LETTERS, texts, strict=False))


def listed_choices(prompt: str) -> dict[str, str]:
    """The choices that the end of a prompt lists line by line, from A on; empty without a list."""
    listed = list(_LISTED.finditer(prompt))
    starts = [n for n, match in enumerate(listed) if match["letter"] == "A"]
    if not starts:
        return {}
    final = listed[starts[-1] :]
    if [match["letter"] for match in final] != list(_LETTERS[: len(final)]) or len(final) < 2:
        return {}
    return {match["letter"]: match["text"] for match in final}


def letter_of_text(clause: str, choices: Mapping[str, str]) -> str | None:
    """The letter of the only choice whose text a clause is; None for a letter or another text."""
    text = affirmed(clause)
    if is_denial(text) or _BARE.fullmatch(text):
        return None
    readings = {_compact(text), _compact(without_reason(text, r"\w"))}
    matching = [letter for letter, choice in choices.items() if _compact(choice) in readings]
    return matching[0] if len(matching) == 1 else None


def is_no_letter(clause: str, choices: Mapping[str, str]) -> bool:
    """Whether a clause begins with what looks like a choice's letter and belongs to its text.

    A label such as "(a)" where choices have labels themselves, "C = 3 F", or a choice that is a
    letter, such as "i".
    """
    text = affirmed(clause)
    if bare := _BARE.fullmatch(text):
        return any(choice == bare["letter"] for choice in choices.values())
    if _DEFINITION.search(text) and any(map(_DEFINITION.match, choices.values())):
        return True
    return _LABEL.match(text) is not None and any(map(_LABEL.match, choices.values()))


def letter_of_number(clause: str, choices: Mapping[str, str], comma: bool) -> str | None:
    """The letter of the only choice with the number that a clause commits to."""
    numbers = _numbers(choices)
    value = committed_number(clause, comma) if numbers else None
    matching = [letter for letter, n in numbers.items() if value is not None and value.equals(n)]
    return matching[0] if len(matching) == 1 else None


def concluded_letter(
    sentences: Sequence[str], choices: Mapping[str, str], comma: bool
) -> str | None:
    """The letter of the only choice on whose text or number sentences end."""
    if not sentences or sentences[-1].strip().endswith("?"):
        return None
    if letter := letter_of_text(sentences[-1], choices):
        return letter
    numbers = _numbers(choices)
    if numbers:
        value = concluded_number(sentences, comma)
        matching = [a for a, n in numbers.items() if value is not None and value.equals(n)]
    else:
        matching = [
            letter
            for letter, choice in choices.items()
            if is_phrase(choice) and concludes_phrase(sentences[-1:], choice)
        ]
    return matching[0] if len(matching) == 1 else None


def _numbers(choices: Mapping[str, str]) -> dict[str, Number]:
    """The numbers of choices that are numbers; empty where two or more are none."""
    numbers = {letter: lone_number(text) for letter, text in choices.items()}
    known = {letter: number for letter, number in numbers.items() if number is not None}
    return known if len(known) >= len(choices) - 1 and len(known) > 1 else {}


def _compact(text: str) -> str:
    return re.sub(r"\s+", "", normal(unmarked(plain(text))))
