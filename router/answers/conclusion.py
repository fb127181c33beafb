"""The number on which a text without a stated answer ends."""

import re
from collections.abc import Sequence

from router.answers.clause import affirmed
from router.answers.number import (
    RESULT,
    final_number,
    is_open,
    lone_number,
    read_tokens,
    right_side,
    settled_number,
)
from router.answers.numeral import Number


def concluded_number(sentences: Sequence[str], comma: bool = False) -> Number | None:
    """The number on which sentences without a stated answer end; None where they leave it open.

    Of several sentences, one must say that it concludes: a fact is not yet an answer.
    """
    *others, last = sentences or [""]
    if lone_number(last):
        return _sentence_number(last, comma) if not any(map(lone_number, others)) else None
    if others and (opening := lone_number(sentences[0])) and _is_short(sentences[0]):
        claims = [text for text in sentences[1:] if _CLAIM.search(text) or lone_number(text)]
        if all(_sentence_number(text, comma) == opening for text in claims):
            return opening
    for sentence in reversed(sentences):
        text = affirmed(sentence)
        if re.search(r"\d", text) and not _REMARK.match(text):
            is_claim = not others or _CLAIM.search(sentence)
            return _sentence_number(sentence, comma) if is_claim else None
    return None


def _is_short(sentence: str) -> bool:
    return len(sentence.split()) < 4 and not sentence.endswith("?")


def _sentence_number(sentence: str, comma: bool) -> Number | None:
    text = affirmed(sentence)
    if gloss := _GLOSS.search(text):
        outer = _sentence_number(text[: gloss.start("inner") - 1], comma)
        inner = right_side(gloss["inner"])
        tokens = read_tokens(inner, comma) if inner and inner != gloss["inner"] else []
        is_same = outer and all(token.number and token.number.equals(outer) for token in tokens)
        return outer if is_same else None
    text = re.sub(rf"(?i)\b{_MEASURE} of (?=(?:about |exactly )?[$€£]?\d)", r"\1 ", text)
    text = re.sub(r"(?i)^\W*(?:in )?(?:the )?year (?:was |is |of )?(?=\d{3,4}\W*$)", "", text)
    text = re.sub(r"(?<=\d)([^\d,;]{0,30}),?\s(?:since|because)\s.*", r"\1", text)
    text = re.sub(r"(?<!\.)\.$|(?<=[a-z])\s?!$", "", text)
    text = re.sub(r"(?<=\d)!$", "", text) if re.search(r"[^\W\d_]{2}", text) else text
    text = re.sub(rf"(?<=\w) in \d+ {_TIME}\b", "", text)
    text = _CONCLUSION.sub("", re.sub(r"^(?:\d+[.)]|[-*•])\s+(?=\D*\d)", "", text))
    if not re.search(r"\d", text) or is_open(text) or _QUOTATION.match(text):
        return None
    right = None if _is_unclaimed(text) else right_side(text)
    tokens = read_tokens(right, comma) if right else []
    if not right or not tokens:
        return None
    if right == text and _FACT.search(right[: tokens[-1].start]):
        return None
    head = right[: tokens[-1].start]
    is_later = len(tokens) > 1 and RESULT.search(head) and not re.search(r"\bto \w+ $", head)
    return (
        final_number(right, tokens)
        if right == text or is_later
        else settled_number(right, tokens, 0)
    )


_MEASURE = (
    r"(profit|loss|gain|cost|total|sum|average|mean|revenue|income|balance|difference|product|score"
    r"|distance|length|area|volume|perimeter|weight|speed|change)"
)
"""What has its number behind "of"."""

_GLOSS = re.compile(r"(?<=\d)(?P<noun>\s[^\W\d]+)*\s\((?P<inner>\d+(?!\s?/)[^()]*\s[^()]*)\)\W*$")
"""A remark in parentheses behind a sentence: how its number comes about."""

_TIME = "(?:second|minute|hour|day|week|month|year)s?"
_FACT = re.compile(
    r"\b(?:(?<!total )(?<!sum )of|on|from|until|till|since|by|number|says?|said|claims?"
    r"|mentions?|guess(?:es|ed)|thinks?|thought)\s(?:(?:about|exactly|the)\s)?[($€£]?$"
    r"|(?:\bnot|n't|\bnever)\b[^,;:]*$|\bif\b.*\bwould\b|^\W*(?:the|my|his|her)\s(?:first|second"
    r"|third|next|last|other|year)\b",
    re.IGNORECASE,
)
"""What makes a sentence's number a detail, and no answer, unless an equation ends on it."""

_CLAIM = re.compile(
    r"=|≈|^\W*(?:\d+[.)]\s)?(?:so|then|therefore|thus|hence|finally|altogether|in (?:total|all)"
    r"|(?:it|that|this|which)(?:'s| (?:is|makes|gives|means|leaves|yields|equals|prints|outputs"
    r"|returns))|(?:we|i|you) (?:get|have|obtain"
    r"|find)"
    r"|(?:the |our )?(?:final |grand )?(?:total|sum|result|difference|product|quotient|value))\b"
    r"|[,;] (?:so|therefore|thus|hence|which|giving|making|leaving|for a total)\b|\baltogether\b"
    r"|\b(?:in (?:total|all)|total of)\b|\bequals?\b",
    re.IGNORECASE,
)
"""What the sentence says that concludes others."""


def _is_unclaimed(text: str) -> bool:
    """Whether a sentence only supposes, quotes, explains or lacks what its last number says."""
    *before, number, _ = re.split(r"(\d[\d.,/]*)", text)
    head = "".join(before)
    behind = text[len(head) + len(number) :]
    if _SUPPOSED.search(head) or (_WOULD.search(head) and _CONDITION.search(behind)):
        return True
    return bool(_PREMISE.match(head) and re.match(r"[^,]*,\s*[a-z]", behind))


_SUPPOSED = re.compile(
    r"\b(?:let|suppose|assum(?:e|ing)|imagine|if(?!.* get)|whether|unless)\b[^,:;]*$"
    r"|\b(?:people|students|everyone|everybody|friends?|book|key|teacher|others|they|one|you"
    r"|some|many"
    r"|most|he|she)\s(?:\w+\s)?(?:say|claim|think|believe|answer|guess)(?:s"
    r"|ed)?(?!\s\w*bye)\b[^:;]*$"
    r"|\b(?:first|initially) (?:thought|guessed|assumed|got)\b[^:;]*$|^\W*(?:try|could it)\b[^:;]*$"
    r"|\b(?:originally|initially|before)\b[^:;,]*\b(?:had|has|was|were)\b(?!.*\b(?:cost"
    r"|price))[^:;,]*$"
    r"|^\W*initially\s*$|^\W*of\s*$"
    r"|\b(?:mistake|error|trap|temptation)\b[^:;]*\bto\b[^:;]*$"
    r"|\bneed to (?:know|find|determine)\b[^:;=]*$|\b(?:as (?:many|much)|half|twice|double) [^=]*$",
    re.IGNORECASE,
)
_WOULD = re.compile(r"\b(?:would|could|should|might)\b|'d\b", re.IGNORECASE)
_CONDITION = re.compile(r"[^.;]*\b(?:if|unless|except|but|only by)\b", re.IGNORECASE)
_PREMISE = re.compile(r"\W*(?:since|because|as|given that|although|though|while)\b[^,]*$", re.I)
"""A number in a reason or concession, behind which the sentence goes on without another one."""


_CONCLUSION = re.compile(
    r"^.*[\s,](?:so|therefore|thus|hence|and so|which means|we (?:find|get|see"
    r"|conclude) that)\s(?=.*\d)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTATION = re.compile(
    r"\W*(?:(?:the|this|our)\s+(?:problem|question|text|passage|prompt|exercise"
    r"|statement|answer|number)\b(?:\s\w+)?\s"
    r"(?:has|says?|mentions?|states?|asks?|contains?|gives?)|we (?:are given|know)|given\b"
    r"|\d+[.)]\s+\D*$)",
    re.IGNORECASE,
)
"""A sentence that repeats the problem, or an item's number."""

_REMARK = re.compile(
    r"\((?!-?\d+\)$)[^)]*\)?\W*$|\W*(?:check|verif\w*|note|for example|e\.g\.|step \d+\b\W*$)",
    re.IGNORECASE,
)
