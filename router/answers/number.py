"""The number that a clause commits to, by value, in any usual notation.

Read are signs, currencies, thousands by comma, point, space, apostrophe or underscore, decimals by
point or comma, mixed and plain fractions, powers of ten, percent, words like million, and units.
A clause that names a bound, a range, two numbers, or a term like 2π or x^2 commits to no number.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from router.answers.clause import affirmed, is_denial, without_reason
from router.answers.equation import right_side
from router.answers.notation import plain, unmarked
from router.answers.numeral import NUMBER, Number, read_number
from router.answers.question import UNKNOWN, Question
from router.answers.units import GRAMMAR, MONTHS, in_one_unit
from router.answers.wording import is_plain_answer

_TERM = re.compile(
    r"-?ish\b|\)?\s?[\^√!|_\\‰]|\s?/(?!\s*$|(?!sqrt|log)[a-z]{3})|\s?[*+<>≥≤≠±∪×](?!\s*$)|[({\[…]"
    r"|\.\.\."
    r"|\s:\s?\d|\.\\|\s-\s?\d|\s-\s(?-i:[b-z])(?!\w|\s[a-z]{2})|-\w|\s?\+|:\d"
    rf"|\s?(?-i:{MONTHS})\b|\s(?:[a-z]+(?:redth|sandth|tenth)s?|tenths|thirds|fourths|fifths"
    rf"|sixths|eighths)\b"
    r"|(?:st|nd|rd|th)\b|\sand (?:a|one) (?:half|quarter|third)\b"
    r"|(?-i:\s[A-Z][a-z]+\s[A-Z][a-z]+)"
    r"|\sof (?:the )?\d|\sat the (?:start|beginning|outset)\b|\s(?-i:BC|BCE|AD|CE)\b|\s(?:in"
    r"|to the) base\b"
    r"|\s(?:squared|cubed|factorial|choose|mod|minus|plus|divided|multiplied|raised|to the|hoch"
    r"|(?:more|less|fewer) than|(?:\w+\s){0,3}?(?:more|less|fewer"
    r"|[a-z]+er) than (?:\w+\s){0,2}?\d+|(?:times|x)(?!\s*$))\b",
    re.IGNORECASE,
)
"""What makes a number part of a longer term, directly behind it."""

_BOUND_BEFORE = re.compile(
    r"(?:[<>≥≤≠±√|∛]|\b(?:at (?:least|most)|(?<!add )(?<!adds )up to|such as|as \w+ as|log(?:_?\w+)?|ln|sin|cos|tan|sqrt"
    r"|mod|base|who (?:ha[sd]|have|is|was|got)|(?:one|two) in|(?:close|next|due|according) to|factors? of|after|(?:third|half|quarter|fourth|fifth) of|plus de|más de|no es|als)|(?:没有?|不|如果有?)[\u4e00-\u9fff]{0,3}|大于|小于|超过|至少|最多|介于|多于|少于)"
    r"\s*(?:(?:about|exactly|a|the|either|just|possibly|=)\s+)*[({]?\s*$",
    re.IGNORECASE,
)
_BOUND_AFTER = re.compile(
    r"\s(?:is|was|does|do|did|can|would|will) not|\s?(?:[^\W\d]+\s+){0,3}?(?:(?:or|and|oder|ou|o|y)\s+(?:above|up|over|plus|moins|más|menos|mehr|weniger)"
    r"|at (?:least|most|first)|too|ago|off|wards?|past|digits?|decimal places|significant|以上|以下|左右"
    r"|(?:up|on)wards?|(?:per|an?) \w+ for|[^.;:,]*\bstart(?:ed)? with|per mille|to (?:begin|start) with|originally|initially)(?!\w)",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\b(?:either|neither|between|anywhere from|entweder|soit)\b", re.IGNORECASE)
_JOINED = re.compile(
    r"[)\]}]?\s?(?:[^\W\d_]+(?:[/^]\w+)?\.?\s?|[%€°]\s?){0,3}?"
    r"(?:(?:[,;&/±|~–—-]|\b(?:or|and|to|through|till|until|und|oder|bis|ou|et|o|y|e|by|versus|vs)\b"
    r"|或者?|和|到|至)[\s,]*)+"
    r"(?:(?:about|possibly|maybe|perhaps|probably|also|even|else|approximately|with|either|a|an"
    r"|is)\s+"
    r"|[A-Za-z]\s?=\s?|[€£(\[{]\s?)*",
    re.IGNORECASE,
)
"""What stands between two numbers that are both put forward."""

_COMPOUND = re.compile(
    r"\s?(?!(?:is|are|was|makes?|gives?|equals?|costs?)\b)[^\W\d_]+\.?,?\s|['\"°]\s?|\s"
)
_FILLER = re.compile(
    r"(?:\s|[(\[{\"'«»,:=≈~→]|\b(?:about|approximately|approx\.?|around|roughly|exactly"
    r"|precisely|just"
    r"|simply|only|equals?|equal to|is|are|was|be|a|an|the|total|sum|of|therefore|thus|hence|so"
    r"|then"
    r"|it|she|he|they|we|has|have|had|now|also|indeed|actually|obviously|clearly|numerically|value"
    r"|number|answer|option|etwa|ungefähr|genau|ca\.?|environ|exactement|aproximadamente|unos|est"
    r"|es|ist|sind|sont|son|[a-z](?:\(\w+\))?\s?(?==)|[A-Z]\s?(?==))(?![\w']))*",
    re.IGNORECASE,
)
_QUOTES = " \t\n\"'«»"
_PAIR = re.compile(r"[(\[{]\s*\d+,\d+\s*[)\]}]")
_LEADS = (
    "(?:make|give|get|equal|leave|need|pay|cost|earn|spend|receive|remain|total|be|got|had|have|has"
    "|paid|left|de|à|da|di|von|ca|etwa|ungefähr|genau|ist|sind|est|son|exactement|environ|or|and)"
)
"""Words in front of a number that is put forward, besides words of grammar."""

_DISOWNED = re.compile(r"\d\W*\((?:wrong|incorrect|false|no)\b", re.IGNORECASE)
_DECADE = re.compile(r"\bthe\s\d+s\b")
_LABEL = re.compile(
    r"\b(?:step|part|question|problem|case|figure|fig\.|table|equation|eq\.|option|example|section"
    rf"|line|item|method|phase|chapter|ch\.|page|pp?\.|statement|no\.|schritt|étape|paso)$|#$"
    r"|\b(?:train|bus|flight|room|house|phone|page|item|line|model|player|question) number$"
    rf"|^\W*(?:at|by|(?!(?:{'|'.join(GRAMMAR)}|{_LEADS})\b)[a-z]+(?<!s)(?<!ly))$"
    r"|(?-i:\b[a-z]+[A-Z]+)$"
    rf"|(?-i:\b{MONTHS})$|(?:^\W*(?-i:(?=[A-Z]))|\b(?:on|in|at|from|see|of)\s)"
    rf"(?!(?:{'|'.join(GRAMMAR)})\b)[a-z]+$",
    re.IGNORECASE,
)
"""Words whose number counts steps, names a figure or is a day: step 3, Room 3, on day 3."""


_COMMA_LANGUAGE = re.compile(
    r"\b(?:antwort|ergebnis|endergebnis|lösung|beträgt|lautet|réponse|résultat|donc|respuesta"
    r"|resultado|risposta|risultato|resposta|antwoord|ответ)\b|\d\s?€",
    re.IGNORECASE,
)
RESULT = re.compile(
    r"(?:[=≈→:]|\b(?:is|are|was|be|makes?|gives?(?: us| me| you)?|gets?|got|equals?|leaves?"
    r"|leaving|totals?|totaling|has"
    r"|have|had|needs?|pays?|paid|costs?|earns?|earned|makes|making|giving|spends?|spent|only|then"
    r"|receives?|obtain(?:s|ed)?|yields?|reach(?:es)?|remain(?:s|ing)?|(?:total|sum) of|to|ist"
    r"|sind|est|sont|es|son))\s*(?:about"
    r"|a total of|exactly"
    r"|only)?"
    r"\s*[$€£(]?-?\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Token:
    start: int
    end: int
    number: Number | None


def decimal_comma(response: str) -> bool:
    """Whether a response is in a language that writes 1.234,5, by the words for its answer."""
    return _COMMA_LANGUAGE.search(response) is not None


def lone_number(text: str) -> Number | None:
    """The number that a text consists of, with its unit; None if it is anything else."""
    text = in_one_unit(unmarked(plain(text)).strip(_QUOTES))
    match = NUMBER.match(re.sub(r"(?<!\.)\.$", "", text))
    if not match:
        return None
    number, end = read_number(match, text, comma=False)
    if number is None or _TERM.match(text, end) or _BOUND_AFTER.match(text, end):
        return None
    if not is_plain_answer(text, match.start(), end, UNKNOWN):
        return None
    if not re.fullmatch(r"(?:\s?[^\W\d_]+){0,3}\W*", text[end:]):
        return None
    return number


def committed_number(
    clause: str, comma: bool = False, question: Question = UNKNOWN
) -> Number | None:
    """The number that a clause puts forward as an answer, or None.

    Args:
        clause: what follows "the answer is", or the content of a box.
        comma: whether the text writes 1.234,5.
        question: what was asked, whose own words may relate a number to another.
    """
    text = in_one_unit(affirmed(clause))
    if is_open(text):
        return None
    clause = without_reason(text, r"\d")
    text = right_side(clause)
    if text is None:
        return None
    computed = text != clause
    tokens = read_tokens(text, comma)
    if not tokens:
        return None
    if _FILLER.fullmatch(text, 0, tokens[0].start):
        others = [token for token in tokens[1:] if token.number != tokens[0].number]
        behind = text[tokens[0].end : others[0].start] if others else ""
        is_apart = not others or _APART.search(behind)
        return (
            None
            if not is_apart or _RELATED.search(behind)
            else settled_number(text, tokens, 0, question, computed)
        )
    return final_number(text, tokens, question)


def is_open(text: str) -> bool:
    """Whether a text denies, asks, offers a choice or is a pair."""
    return is_denial(text) or any(
        pattern.search(text) for pattern in (_CHOICE, _PAIR, _DECADE, _DISOWNED)
    )


def final_number(
    text: str, tokens: Sequence[_Token], question: Question = UNKNOWN
) -> Number | None:
    """The only number of a text, or the final one behind words like "makes"."""
    if len({token.number for token in tokens}) == 1:
        return settled_number(text, tokens, 0, question)
    is_result = RESULT.search(text[: tokens[-1].start][-_WINDOW:]) is not None
    return settled_number(text, tokens, len(tokens) - 1, question) if is_result else None


def settled_number(
    text: str,
    tokens: Sequence[_Token],
    index: int,
    question: Question = UNKNOWN,
    computed: bool = False,
) -> Number | None:
    """A token's number, unless it is a bound, a part of a term or an alternative.

    `computed` says that it is what an equation equals, whose words matter less.
    """
    token = tokens[index]
    if _BOUND_BEFORE.search(text[max(0, token.start - _WINDOW) : token.start]):
        return None
    if _TERM.match(text, token.end) or _BOUND_AFTER.match(text, token.end):
        return None
    if not is_plain_answer(text, token.start, token.end, question, computed):
        return None
    for before, after in pairwise(tokens):
        gap = text[before.end : after.start]
        beside = token in (before, after) or before.number == token.number
        compound = before.number is None or before.number.is_measured or not gap.strip()
        if beside and (_JOINED.fullmatch(gap) or (compound and _COMPOUND.fullmatch(gap))):
            return None
    return token.number and replace(token.number, computed=computed)


_APART = re.compile(r"[.,;:(\[=≈—&\n]|\s[-–]\s|\b(?:and|on|in|at|from|by)\b")
"""What parts a number from one behind it that only explains it."""

_RELATED = re.compile(
    r"\b(?:per|each|every|for|with|but|no|less|more|fewer|than|if|to|until)\b", re.IGNORECASE
)
"""What relates a number to the next one, so that neither is the answer by itself."""

_WINDOW = 80
"""Characters in front of a number that decide what it means."""


def read_tokens(text: str, comma: bool) -> list[_Token]:
    tokens: list[_Token] = []
    label_end = None
    for match in NUMBER.finditer(text):
        before = text[max(0, match.start() - _WINDOW) : match.start()].rstrip()
        number, end = read_number(match, text, comma)
        if match["sign"] and (before[-1:].isalnum() or before.endswith((")", "%"))):
            detached = match[0][1:2].isspace() or not text[: match.start()].endswith(" ")
            if detached or before[-1:].isdigit():
                number = None  # an operand: 12 - 5
        elif before.endswith(("+", "*", "/", "^", "√")) or re.search(r"[-\w)]\($", before):
            number = None  # a term, or the argument of a function
        follows = label_end is not None and _JOINED.fullmatch(text[label_end : match.start()])
        is_year = re.fullmatch(r"\d{4}", match["digits"]) and re.search(rf"{MONTHS}$", before)
        if follows or (_LABEL.search(before) and not is_year):
            label_end = end
        else:
            tokens.append(_Token(match.start(), end, number))
    return tokens
