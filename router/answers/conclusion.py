"""The number on which a text without a stated answer ends."""

import re
from collections.abc import Sequence

from router.answers.clause import affirmed, is_denial
from router.answers.equation import right_side
from router.answers.number import (
    RESULT,
    final_number,
    lone_number,
    read_tokens,
    settled_number,
)
from router.answers.numeral import Number
from router.answers.question import UNKNOWN, Question
from router.answers.units import in_one_unit


def concluded_number(
    sentences: Sequence[str], comma: bool = False, question: Question = UNKNOWN
) -> Number | None:
    """The number on which sentences without a stated answer end; None where they leave it open.

    Of several sentences, one must say that it concludes: a fact is not yet an answer.
    """
    *others, last = sentences or [""]
    if lone_number(last):
        return (
            _sentence_number(last, comma, question) if not any(map(lone_number, others)) else None
        )
    if others and (opening := lone_number(sentences[0])) and _is_short(sentences[0]):
        claims = [text for text in sentences[1:] if _CLAIM.search(text) or lone_number(text)]
        if all(_sentence_number(text, comma, question) == opening for text in claims):
            return opening
    numbered = [
        sentence
        for sentence in sentences
        if re.search(r"\d", text := affirmed(sentence)) and not _REMARK.match(text)
    ]
    if not numbered:
        return None
    number = _sentence_number(numbered[-1], comma, question)
    before = sentences[sentences.index(numbered[-1]) - 1] if others else ""
    is_reply = before.endswith("?") and numbered[-1] != sentences[0]
    if not others or is_reply or _CLAIM.search(numbered[-1]):
        return number
    claims = [text for text in numbered[:-1] if _CLAIM.search(text)]
    claim = claims[-1] if claims else ""
    claimed = _sentence_number(claim, comma, question) or lone_number(claim.rpartition("=")[2])
    return number if number and claimed and number.value == claimed.value else None


def _is_short(sentence: str) -> bool:
    return len(sentence.split()) < 4 and not sentence.endswith("?")


def _sentence_number(sentence: str, comma: bool, question: Question) -> Number | None:
    text = in_one_unit(affirmed(sentence))
    if gloss := _GLOSS.search(text):
        outer = _sentence_number(text[: gloss.start("inner") - 1], comma, question)
        inner = right_side(gloss["inner"])
        tokens = read_tokens(inner, comma) if inner and inner != gloss["inner"] else []
        is_same = outer and all(token.number and token.number.equals(outer) for token in tokens)
        return outer if is_same else None
    for pattern, kept in _REDUCTIONS:
        text = pattern.sub(kept, text)
    text = re.sub(r"(?<=\d)!$", "", text) if re.search(r"[^\W\d_]{2}", text) else text
    text = _CONCLUSION.sub("", text)
    if not re.search(r"\d", text) or is_denial(text) or _is_unclaimed(text):
        return None
    right = right_side(text)
    tokens = read_tokens(right, comma) if right else []
    if not right or not tokens:
        return None
    head = right[: tokens[-1].start]
    if right == text and _DETAIL.search(head):
        return None
    is_later = (
        len(tokens) > 1
        and RESULT.search(head)
        and not re.search(r"\bto (?!obtain|get|give|make|reach|find)\w+ $", head)
    )
    return (
        final_number(right, tokens, question)
        if right == text or is_later
        else settled_number(right, tokens, 0, question, computed=right != text)
    )


_GLOSS = re.compile(r"(?<=\d)(?P<noun>\s[^\W\d]+)*\s\((?P<inner>\d+(?!\s?/)[^()]*\s[^()]*)\)\W*$")
"""A remark in parentheses behind a sentence: how its number comes about."""

_TIME = "(?:second|minute|hour|day|week|month|year)s?"
_REDUCTIONS = (
    (
        re.compile(
            r"\b(profit|loss|gain|cost|total|sum|average|mean|revenue|income|balance|difference"
            r"|product|score|distance|length|area|volume|perimeter|weight|speed|change) of"
            r" (?=(?:about |exactly )?[$€£]?\d)",
            re.IGNORECASE,
        ),
        r"\1 ",
    ),
    (re.compile(r"\bby (?=\d[\d.,]*\s?(?:%|percent\b)\W*$)"), ""),
    (re.compile(r"(?i)^\W*(?:in )?(?:the )?year (?:was |is |of )?(?=\d{3,4}\W*$)"), ""),
    (re.compile(r"(?<=\d)([^\d,;]{0,30}),?\s(?:since|because)\s.*"), r"\1"),
    (re.compile(r"\s\((?:since|because|as|from|rounded)\s[^()]*\)\W*$"), ""),
    (
        re.compile(r"(?<=\d)((?:\s(?!per\b|each\b|every\b)[^\W\d]+){0,3}), with \d+\s[^,.]*\W*$"),
        r"\1",
    ),
    (re.compile(r"(?<=\d)(\s\w+)? ways (?:to|of|in which)\b.*"), r"\1 ways"),
    (re.compile(r"(?<!\.)\.$|(?<=[a-z])\s?!$"), ""),
    (re.compile(rf"(?<=\w) (?:in|over|within) \d+ {_TIME}\b"), ""),
    (re.compile(rf"^\W*(?:in|after|over) \d+ {_TIME},?\s(?=\D*\d)", re.IGNORECASE), ""),
    (re.compile(r"^(?:\d+[.)]|[-*•])\s+(?=\D*\d)"), ""),
)
"""What a sentence has besides its answer, and what is kept of it."""

_DETAIL = re.compile(
    r"\b(?:(?<!total )(?<!sum )of|on|from|until|till|since|by|number)\s(?:(?:about|exactly"
    r"|the)\s)?[($€£]?$"
    r"|^\W*(?:the|my|his|her)\s(?:first(?!\s\w+(?:\s\w+)? (?:was|took|happened))|second|third"
    r"|next|last|other|year)\b",
    re.IGNORECASE,
)
"""What makes a sentence's number a detail, and no answer, unless an equation ends on it."""

_CLAIM = re.compile(
    r"=|≈|\d\s?[×*·+÷/-]\s?\d\S* (?:is|makes|gives)\b|^\W*(?:\d+[.)]\s)?(?:so|then|therefore|thus"
    r"|hence|finally|altogether|together|(?:it|that|this|which)(?:'s| (?:is|makes|gives|means"
    r"|leaves"
    r"|yields|equals|prints|outputs|returns))|(?:we|i|you) (?:get|have|obtain|find)"
    r"|(?:the |our )?(?:final |grand )?(?:total|sum|result|difference|product|quotient|value))\b"
    r"|^\W*(?:since|because|as|with)\b[^,]*,|[,;] (?:so|therefore|thus|hence|which|giving|making"
    r"|leaving|for a total)\b|\baltogether\b|\b(?:in (?:total|all)|total of|equals?)\b",
    re.IGNORECASE,
)
"""What the sentence says that concludes others."""


def _is_unclaimed(text: str) -> bool:
    """Whether a sentence only supposes, quotes, explains or lacks what its last number says."""
    *before, number, _ = re.split(r"(\d[\d.,/]*)", text)
    head = "".join(before)
    behind = text[len(head) + len(number) :]
    if _ABOUT.search(text) or _SUPPOSED.search(head):
        return True
    if _WOULD.search(head) and _CONDITION.search(behind):
        return True
    return bool(_PREMISE.match(head) and re.match(r"[^,]*,\s*[a-z]", behind))


_SUPPOSED = re.compile(
    r"\b(?:with|if|at)\b[^.;]*\bwould\b[^:;]*$"
    r"|\b(?:let|suppose|assum(?:e|ing)|imagine|if(?!.* get)|whether|unless)\b[^,:;]*$"
    r"|(?<!\bi )(?<!\bwe )\b(?:say(?! goodbye)|claim|think|believe|thought|guess|mention)(?:s"
    r"|e?d)?\b[^:;]*$|\bsaid\b[^:;]*$"
    r"|\b(?:originally|initially|before)\b[^:;,]*\b(?:had|has|was|were)\b(?!.*\b(?:cost"
    r"|price))[^:;,]*$"
    r"|^\W*(?:initially|of|try\b.*|could it\b.*)\s*$|\b(?:mistake|error|trap"
    r"|temptation)\b[^:;]*\bto\b[^:;]*$"
    r"|\bneed to (?:know|find|determine)\b[^:;=]*$|\b(?:as (?:many|much)|half|twice|double) [^=]*$",
    re.IGNORECASE,
)
_WOULD = re.compile(r"\b(?:would|could|should|might)\b|'d\b", re.IGNORECASE)
_CONDITION = re.compile(r"[^.;]*\b(?:if|unless|except|but|only by)\b", re.IGNORECASE)
_PREMISE = re.compile(r"\W*(?:since|because|as|given that|although|though|while)\b[^,]*$", re.I)
"""A number in a reason or concession, behind which the sentence goes on without another one."""

_ABOUT = re.compile(
    r"(?<!as the )\banswer\b(?!\s*[^\w\s])"
    r"|\b(?:mistakenly|wrongly|incorrectly|naively|told|used to)\b|\b(?:either|neither)\b"
    r"|^\W*(?:(?:the|this|our)\s+(?:problem|question|text|passage|prompt|exercise"
    r"|statement|answer|number)\b(?:\s\w+)?\s(?:has|says?|mentions?|states?|asks?|contains?|gives?)"
    r"|we (?:are given|know)|given\b|\d+[.)]\s+\D*$)",
    re.IGNORECASE,
)
"""A sentence about the answer or the problem, a mistake, or an item's number."""

_CONCLUSION = re.compile(
    r"^.*[\s,](?:so|therefore|thus|hence|and so|which means|we (?:find|get|see"
    r"|conclude) that)\s(?=.*\d)",
    re.IGNORECASE | re.DOTALL,
)
_REMARK = re.compile(
    r"\((?!-?\d+\)$)[^)]*\)?\W*$|\W*(?:check|verif\w*|note|for example|e\.g\.|step \d+\b\W*$)",
    re.IGNORECASE,
)
