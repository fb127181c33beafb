"""What the sentence of a marked answer, such as a box, says around it.

Most words there leave the answer as it is. Bounds, factors, alternatives and rejections do not.
"""

import re

from router.answers.clause import REJECTED
from router.answers.notation import plain
from router.answers.number import JOINED, is_bounded
from router.answers.response import Statement
from router.answers.spelled import is_number_word
from router.answers.units import MULTIPLIERS, dimension, unit_name

_OPERATOR = re.compile(
    r"\s*[^\w\s.,;:'\"()\[\]{}|&=≈→–—*/\\_~$€£¥₹¢°-]|\.\d|\.\.\.|[\w({\\_]"
    r"|\s?\*\s?[\w\\]|\s?-\s?[\d$\\(]|-\w|:\s?\d"
    r"|\s:\s?\d|\s[b-z](?![\w'])|\s\d+/\d|\s\d{3}(?!\d|-)|\sand (?:a|one) (?:half|quarter|third)\b"
    r"|\s?/(?!\s?[$\\]*[A-Za-z]{2})|\s?times\s\S*\d"
)
"""What makes an answer in front of it a term: !, /2, %."""

_WORD = re.compile(r"\s*\(?([^\W\d_]+)")
_CHANGING = {
    *MULTIPLIERS,
    *("percent", "base", "mod", "plus", "minus", "squared", "cubed", "factorial"),
}
_BOUND = re.compile(
    r"(?:\s+[^\W\d_]+){0,2}\s+(?:(?:or|and) (?:more|less|fewer|above|below|over|up|so)"
    r"|at (?:least|most)|upwards?)\b",
    re.IGNORECASE,
)
_OR = re.compile(r"\b(?:or|oder|ou|and/or|或者?)\b", re.IGNORECASE)
_VALUE = re.compile(r"[-+$€£]*\d")
_LETTER = re.compile(r"\(?[A-Z](?![\w'])")
_FINAL_WORD = re.compile(r"[^\W\d_]+\W*\Z")
_LAST_WORD = re.compile(r"\w+\W*\Z")

_RESTATEMENT = re.compile(
    r"[\s,(]*\bor,?\s+(?:equivalently|in (?:words|other words|decimals|percent))\b.*",
    re.IGNORECASE | re.DOTALL,
)
_APPROXIMATION = re.compile(
    r"[\s,(]*\bor,?\s+(?:approximately|approx\.|about|roughly|around)\s.*",
    re.IGNORECASE | re.DOTALL,
)
_INTEGER = re.compile(r"[-+\d,\s]*")
_CONVERSION = re.compile(r"\s*(?P<unit>[^\W\d_]+)[\s,(]*\bor\s+[\d.,/]+\s?(?P<other>[^\W\d_]+)")

_LONGEST_UNIT = 24

_MOST_NUMBERS = 10
"""Numbers that are read behind an answer which is part of a term, or one of several."""


def settled_clause(item: Statement) -> str | None:
    """A marked answer with all that changes it; None where it is bounded, doubted or rejected."""
    behind = _without_restatement(item.text, plain(item.behind))
    is_asked = behind.rstrip(' *_)"').endswith("?")
    if is_asked or is_bounded(item.before) or REJECTED.match(behind):
        return None
    if not item.term and not _is_added(item.text, behind):
        return item.text
    is_short = len(re.findall(r"\d+", behind)) <= _MOST_NUMBERS
    return f"{item.term}{item.text}{item.behind}" if is_short else None


def stated_term(item: Statement) -> str | None:
    """The text of a statement that is no number; None where anything around it changes it."""
    if not item.is_marked:
        return item.text
    return item.text if settled_clause(item) == item.text else None


def _without_restatement(text: str, behind: str) -> str:
    """What follows an answer, without another form of it: or about 0.67, or 2 hours."""
    behind = _RESTATEMENT.sub("", behind)
    if not _INTEGER.fullmatch(text):
        behind = _APPROXIMATION.sub("", behind)
    word = _FINAL_WORD.search(text[-_LONGEST_UNIT:])
    unit = word[0] if word else ""
    conversion = _CONVERSION.match(f"{unit}{behind}")
    if conversion is not None:
        units = {unit_name(conversion["unit"]), unit_name(conversion["other"])}
        if None not in units and len(units) > len({dimension(str(name)) for name in units}):
            return behind[conversion.end() - len(unit) :]
    return behind


def _is_added(text: str, behind: str) -> bool:
    """Whether what follows an answer multiplies it or names another one."""
    word = _WORD.match(behind)
    name = word[1].casefold() if word else ""
    is_unit = word is not None and unit_name(word[1]) is not None
    if (_OPERATOR.match(behind) and not is_unit) or _BOUND.match(behind):
        return True
    if name in _CHANGING or is_number_word(name):
        return True
    joint = JOINED.match(behind)
    if joint is None:
        return False
    is_letter = len(plain(text).strip(" ().")) < 2
    another = _VALUE if re.search(r"\d", text) else _LETTER if is_letter else _LAST_WORD
    is_near = _OR.match(joint[0].lstrip(" ,;(")) is not None
    return is_near or another.match(behind, joint.end()) is not None
