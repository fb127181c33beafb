"""Clauses: what denials, reasons and questions leave of them."""

import re

from router.answers.notation import plain, unmarked

_QUOTES = " \t\n\"'«»„"
_CONTRAST = re.compile(
    r"^\W*(?:(?:it|this|that)\s(?:is|was)\s)?(?:isn't|not|nicht|pas|no)\b.*?"
    r"(?:\bbut(?: rather)?|[,;]\s*(?:it(?:'s| is)|rather|instead)|—|\bsondern|\bmais|\bsino)\s",
    re.IGNORECASE | re.DOTALL,
)
_DENIED = re.compile(
    r"\W*(?:isn't|not|never|neither|none|no longer|anything but|nicht|no(?=\W*$)|unknown|unclear"
    r"|undetermined|null|undefined|indeterminate"
    r"|不是|n't|cannot|can't)\b",
    re.IGNORECASE,
)
_REASON = re.compile(
    r",?\s+(?:because|since|as|which|where|given|due|rather than|instead of|weil|da|denn|parce|car"
    r"|porque|ya que|so that|obtained|found|by (?:the|[a-z]+ing))\b|,\s+(?:not|so|from|giving)\b"
    r"|因为"
    r"|(?<=\w)\s+\((?!\d+\s?/|(?:or|and|(?:in )?base|mod|hex|maybe|perhaps|possibly|if|unless)\b)"
    r"|[,.:;]?\s+(?:[–—]\s+(?=[A-Za-z])|-\s+(?=(?!(?:sin|cos|tan|log|sqrt|exp)\b)[A-Za-z]{3}))",
    re.IGNORECASE,
)

_REJECTION = (
    r"(?:(?:is|was|seems|looks|must be|would be) (?:\w+ ){0,3}?(?:wrong|incorrect|false|invalid"
    r"|impossible)|(?:is|was|does|did|can|could|would|will) ?(?:not|n't)|cannot|can't|won't)\b"
)
REJECTED = re.compile(
    rf"\W*\?|\W*(?:wrong|incorrect|if|unless|would|maybe|perhaps|possibly|was (?:my|our)"
    rf"|not (?:right|correct|sure))\b|\W*(?:,\s*(?:which|but (?:this|that|it)))?\s*{_REJECTION}",
    re.IGNORECASE,
)
"""What rejects or doubts the answer in front of it: "is wrong", "?"."""

_TAKEN_BACK = re.compile(
    rf"[^\s?]{{1,40}}\?\s|[^,;(\n]{{1,80}}?(?:,\s+(?:which|but (?:this|that|it)) {_REJECTION}"
    r"|\s[(—–-]\s?(?:(?:which|this|that|it) is )?(?:wrong|incorrect|not (?:right|correct))\b"
    r"|,\s+(?:but|though|although|and)\s(?:option\s)?\S{1,20}\s(?:(?:is|are)\s)?(?:also|possible"
    r"|too|correct|right|valid|works?|(?:could|might|may) be)\b)",
    re.IGNORECASE,
)
"""An answer that its own sentence doubts or rejects."""

HYPOTHETICAL = re.compile(
    r"\b(?:if|whether|unless|suppose|assum\w+|doubt|unsure|tempting|wrong(?:ly)?|incorrect(?:ly)?"
    r"|worst|(?:opposite|reverse) of"
    r"|(?:might|may|could|(?<!\bI )(?<!\bi )(?<!\bwe )would|not|n't|can't"
    r"|cannot) (?:\w+ )?(?:think|say|believe|assume|guess"
    r"|be sure"
    r"|know|conclude)|(?<!\bI )(?<!\bi )(?<!\bwe )(?<!\bWe )(?<!\bI'd )(?<!\bI would )(?:claims?"
    r"|says?|said|thinks?"
    r"|believes?|claimed|thought|isn't"
    r"|is not)(?: that)?"
    r"(?: the| his| her| their)?|nor|never|how|what|why|(?:probability|chances?|odds|likelihood"
    r"|claim|false|untrue|true) (?:that|of)|no way|check(?:ing)? (?:that|if))\b[^.!?;\n]*$"
    r"|n't (?:\w+ )?(?:think|say|believe|assume|guess|be sure|know|conclude|mean)\b[^.!?;\n]*$"
    r"|\bno\s$"
    r"|\b(?:wenn|ob|si|falls (?:der|die|das|es|man|wir|ich|er|sie|[a-z] =))\b[^.!?;\n]*$"
    r"|如果[^。\n]*$",
    re.IGNORECASE,
)
"""The beginning of a sentence whose end is supposed, doubted or only quoted."""


def affirmed(clause: str) -> str:
    """A clause in plain notation without the part that it denies: "not A, it is B" is "B"."""
    return _CONTRAST.sub("", unmarked(plain(clause)).strip(_QUOTES))


def is_denial(text: str) -> bool:
    """Whether an affirmed clause still denies, asks or rejects."""
    return text.endswith("?") or any(p.match(text) for p in (_DENIED, _TAKEN_BACK))


_COPULA = re.compile(
    r"(?:\b(?:is|are|be|becomes?|equals?|equal to|gives?|yields?|simplifies to|(?:we|i) (?:get"
    r"|obtain)"
    r"|(?:length|value|area|volume|distance|radius) of|has length|ist|est|es)\b|:|→)\s*",
    re.IGNORECASE,
)
_UNSETTLED = re.compile(
    r"\b(?:or|either|neither|between|maybe|about|approximately|least|most|than|not|never|no|if|when"
    r"|whether|unless|suppose|would|could|might|except)\b|n't\b",
    re.IGNORECASE,
)


def complement(sentence: str) -> str | None:
    """What a sentence says that its subject is; None where it supposes, bounds or denies it."""
    *before, last = _COPULA.split(sentence)
    head = sentence[: len(sentence) - len(last)]
    return last.strip().rstrip(".!") if before and not _UNSETTLED.search(head) else None


def without_reason(text: str, needed: str) -> str:
    """The part of a clause before its reason, as long as that part matches the pattern `needed`."""
    for match in _REASON.finditer(text):
        if re.search(needed, text[: match.start()]):
            return text[: match.start()]
    return text
