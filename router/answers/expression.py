"""The mathematical expression that a response commits to, for computer algebra to compare."""

import re

from router.answers.choice import gold_letters
from router.answers.clause import affirmed, is_denial, without_reason
from router.answers.collection import gold_collection
from router.answers.notation import plain
from router.answers.number import committed_number
from router.answers.phrase import is_phrase
from router.answers.response import Response
from router.answers.verdict import gold_number, is_ratio

_MATH = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_PROSE = re.compile(
    r"\b(?:or|and|either|neither|between|maybe|about|approximately|least|most|than|not)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{3,}")
_FUNCTION_NAMES = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "exp",
        "max",
        "min",
        "det",
        "mod",
        "gcd",
        "lcm",
        "arcsin",
        "arccos",
        "arctan",
    ]
)
_TERM = re.compile(r"[√^π/]|\\[a-z]*(?:sqrt|frac|pi|binom)")
_UNSIMPLIFIED = re.compile(r"\d\s*[-+*]\s*\(?\d")
_CHARACTERS = {"π": "pi", "∞": "infty", "≤": "le", "≥": "ge", "≠": "ne", "±": "pm", "∪": "cup"}
_BRACKET = "([{"


def stated_expression(answer: str, gold: str, truncated: bool = False) -> str | None:
    """The LaTeX that a response gives as its answer, if it can be compared with the gold answer.

    None where the response commits to nothing or to prose, and where the gold answer is of a kind
    that is compared without algebra; a number may be given as a root or a power, not as a sum.
    """
    if gold_letters(gold) or gold_collection(gold) or is_phrase(gold) or is_ratio(gold):
        return None
    response = Response(answer, truncated)
    clause = _final_clause(response)
    if clause is None:
        return None
    simple = plain(clause)
    numeric = gold_number(gold) is not None
    if numeric and (not _TERM.search(simple) or _UNSIMPLIFIED.search(simple)):
        return None
    if (numeric and committed_number(clause)) or re.search(r"\d_", plain(gold) + simple):
        return None  # subscripts name a base, which math-verify ignores
    opening, expected = simple.strip()[:1], plain(gold).strip()[:1]
    if expected in _BRACKET and opening in _BRACKET and opening != expected:
        return None
    return clause if clause.isascii() else _as_latex(simple)


def _as_latex(text: str) -> str:
    text = re.sub(r"√\s*(?:\(([^()]*)\)|([\w.]+))", r"\\sqrt{\1\2}", text)
    for character, command in _CHARACTERS.items():
        text = text.replace(character, f"\\{command} ")
    return text


def _final_clause(response: Response) -> str | None:
    if response.statements:
        clauses = [item.text for item in response.statements]
    elif response.refuses or not response.sentences:
        return None
    else:
        clauses = [response.sentences[-1]]
    text = clauses[-1]
    formulas = [match[1] or match[2] or match[3] for match in _MATH.finditer(text)]
    if formulas and len(set(formulas)) == 1 and not _PROSE.search(_MATH.sub("", text)):
        text = formulas[0]
    if is_denial(affirmed(text)):
        return None
    text = without_reason(text.strip().rstrip(".!"), r"[\w)]").strip()
    words = set(_WORD.findall(plain(text).casefold())) - _FUNCTION_NAMES
    return (
        None
        if words or _PROSE.search(plain(text)) or ("±" in plain(text) and "," in text)
        else text
    )
