"""The answer to an item of reasoning-gym that a response commits to, as its scorer reads it.

Many scorers give an answer that only contains the right one a part of the score, and a few the
whole of it, so a response that leaves two answers open must not get there.
"""

import re

from router.answers.number import lone_number
from router.answers.response import Response, boxes
from router.answers.verdict import is_correct

ASK = "\n\nGive the final answer between <answer> and </answer> tags."
"""What is appended to the items' questions."""

_TAGGED = re.compile(r"<answer>(?P<text>.*?)</answer>", re.DOTALL | re.IGNORECASE)
_OPENED = re.compile(r"<answer>(?P<text>(?:(?!<answer>).)*)$", re.DOTALL | re.IGNORECASE)
_HEDGE = re.compile(
    r"\b(?:or|not|nor|either|neither|maybe|perhaps|possibly)\b|n't\b|\?", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+")
_VERDICTS = frozenset({"yes", "no", "true", "false"})
_MARKS = " \t\r\n*`$\"'"


def committed_answer(
    response: str, gold: str | None, truncated: bool, question: str = ""
) -> str | None:
    """The text to score, or None where the response commits to nothing.

    An `<answer>` tag counts before a stated answer such as a box, and that before a response that
    is nothing but an answer. Thoughts do not count.

    Args:
        response: the text that the model shows, with or without thoughts.
        gold: an answer that is right, though another may be; None where the task gives none.
        truncated: whether the response was cut off.
        question: the item's.
    """
    text = response.rpartition("</think>")[2].partition("<think>")[0]
    tagged = [match["text"] for match in _TAGGED.finditer(text)]
    if not tagged and not truncated and (opened := _OPENED.search(text)):
        tagged = [opened["text"]]  # the closing tag was the stop sequence
    if tagged:
        answer: str | None = _unmarked(_unboxed(tagged[-1].strip()), gold)
    elif gold is not None and (lone_number(gold) is not None or gold.casefold() in _VERDICTS):
        return gold if is_correct(text, gold, truncated, question=question) else None
    elif statements := Response(text, truncated).statements:
        answer = _unmarked(statements[-1].text, gold)
    else:
        answer = _unmarked(text, gold) if not truncated and _is_bare(text, gold) else None
    if not answer or (gold is not None and _HEDGE.search(answer) and not _HEDGE.search(gold)):
        return None
    return answer


def _unboxed(text: str) -> str:
    whole = [content for start, end, content in boxes(text) if (start, end) == (0, len(text))]
    return whole[0].strip() if whole else text


def _unmarked(text: str, gold: str | None) -> str:
    """A stated answer without Markdown, and without the period of its sentence."""
    answer = text.strip(_MARKS)
    if answer.endswith(".") and not (gold or "").endswith("."):
        answer = answer[:-1].rstrip(_MARKS)
    return answer


def _is_bare(text: str, gold: str | None) -> bool:
    """Whether a text has no words but those of the gold answer, and is not longer in words."""
    if gold is None:
        return False
    words = {word.casefold() for word in _WORD.findall(text)}
    is_short = len(text.split()) <= len(gold.split())
    return is_short and words <= {word.casefold() for word in _WORD.findall(gold)}
