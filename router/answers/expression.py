"""The mathematical expression that a response commits to, for computer algebra to compare."""

import re

from router.answers.choice import gold_letters
from router.answers.clause import affirmed, complement, is_denial, without_reason
from router.answers.collection import gold_collection
from router.answers.equation import right_side
from router.answers.notation import plain
from router.answers.number import committed_number
from router.answers.phrase import is_phrase
from router.answers.response import Response
from router.answers.surroundings import stated_term
from router.answers.verdict import gold_number, is_ratio

_MATH = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_PROSE = re.compile(
    r"\b(?:or|and|either|neither|between|maybe|about|approximately|least|most|than|not)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{3,}")
_FUNCTION_NAMES = frozenset(
    re.findall(
        r"\w+",
        "sin cos tan cot sec csc log exp max min det mod gcd lcm arcsin arccos arctan sqrt",
    )
)
_UNIT = re.compile(
    r"(?<=[\s\d)}πi])(?:(?:square|sq\.?|cubic|cu\.?)\s)?(?:units?|[mck]?m|inch(?:es)?|feet|ft"
    r"|meters?|metres?"
    r"|(?:centi|kilo|milli)met(?:er|re)s?|radians?|degrees|seconds?|minutes"
    r"|hours)(?:\^?\{?[23²³]\}?)?\W*$",
    re.IGNORECASE,
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}")
_TERM = re.compile(r"[√^π/]|\\[a-z]*(?:sqrt|frac|pi|binom)")
_UNSIMPLIFIED = re.compile(r"\d\s*[-+*]\s*\(?\d")
_CHARACTERS = {"π": "pi", "∞": "infty", "≤": "le", "≥": "ge", "≠": "ne", "±": "pm", "∪": "cup"}
_SYMBOL = re.compile(r"[\d√π^=\\$]")
_NAME = re.compile(r"[A-Za-z](?:'|\^\{?-1\}?)?(?:\([A-Za-z]\))?|\\[dt]?frac\{d[a-z]?\}\{d[a-z]\}")
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
    if (numeric and (committed_number(clause) or right_side(simple) is None)) or re.search(
        r"\d_", plain(gold) + simple
    ):
        return None  # subscripts name a base, which math-verify ignores
    opening, expected = simple.strip()[:1], plain(gold).strip()[:1]
    if expected in _BRACKET and opening in _BRACKET and opening != expected:
        return None
    is_latex = clause.isascii() and not re.search(
        r"(?<![\\a-z])(?:sqrt|pi|sin|cos|tan|log|ln|exp)\b|\*|\^\(", clause
    )
    return clause if is_latex else _as_latex(simple)


def _as_latex(text: str) -> str:
    text = re.sub(
        r"(?:√|(?<![\\a-z])sqrt(?=\())\s*(?:\(([^()]*)\)|([\w.]+))", r"\\sqrt{\1\2}", text
    )
    text = re.sub(r"(?<![\\A-Za-z])(sin|cos|tan|log|ln|exp)\b", r"\\\1", text)
    text = re.sub(r"(?<![\\A-Za-z])pi\b", r"\\pi ", text.replace("**", "^"))
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text).replace("*", r" \cdot ")
    for character, command in _CHARACTERS.items():
        text = text.replace(character, f"\\{command} ")
    return text


def _final_clause(response: Response) -> str | None:
    if response.statements:
        text = stated_term(response.statements[-1])
        if text is None:
            return None
    elif response.refuses or not response.sentences:
        return None
    else:
        text = next(filter(_SYMBOL.search, reversed(response.sentences)), response.sentences[-1])
    text = re.sub(r"(?<=[a-z])\$\^\{?[23]\}?\$", "", text)
    text = re.sub(r"\)\s*\$?,?\s+and\s+\$?\s*\(", "), (", text)
    formulas = [match[1] or match[2] or match[3] for match in _MATH.finditer(text)]
    prose = re.sub(
        r"\bbetween (?:the|two|points?|them|[A-Z])\b.*?\b(?=is\b)", "", _MATH.sub("", text)
    )
    is_open = _PROSE.search(prose) or re.search(r"\d", text[text.rfind("$") :])
    if formulas and len(set(formulas)) == 1 and not is_open:
        text = formulas[0]
    if is_denial(affirmed(text)):
        return None
    text = text.strip().rstrip(".!")
    text = without_reason(text, r"[\w)]").strip() if _is_prose(text) else text
    if _is_prose(text) and (term := complement(text)):
        text = term
    text = re.sub(r"\\(?:text|mathrm)\{\s*([^{}]*)\}", r" \1", text)
    text = _UNIT.sub("", text) if _TERM.search(plain(text)) else text
    return None if _is_prose(text) else text


def _is_prose(text: str) -> bool:
    """Whether a text has words besides names of functions, or leaves its value open."""
    simple = plain(_ENVIRONMENT.sub("", text))
    words = set(_WORD.findall(simple.casefold())) - _FUNCTION_NAMES
    return bool(words or _PROSE.search(simple) or ("±" in simple and "," in simple))


def without_name(expression: str, gold: str) -> tuple[str, str]:
    """Two expressions without the name that the gold one defines, unless they differ in it.

    Of dy/dx = x/y and dy/dx = -x/y, algebra sees equations that are both 0 = x/y.
    """
    name, _, value = gold.partition("=")
    left_side, _, result = expression.rpartition("=")
    is_name = _NAME.fullmatch(name.strip()) is not None
    if is_name and (not left_side or plain(left_side).split() == plain(name).split()):
        return result, value
    return expression, gold
