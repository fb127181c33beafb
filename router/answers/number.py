"""The number that a clause commits to, by value, in any usual notation.

A clause becomes numbers and the text between them. One of them is the answer if nothing that
touches it makes it part of a term such as 2π or x^2, if the words of its clause are understood
(`wording`), and if no other number is joined with it to a range or a list.
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
from router.answers.units import MONTHS, in_one_unit
from router.answers.wording import is_filler, is_label, is_plain_answer

_BOUND_BEFORE = re.compile(
    r"(?:[<>≥≤≠±√|∛]|\b(?:at (?:least|most)|(?<!add )(?<!adds )up to|such as|as \w+ as|ln"
    r"|log(?:_\w+|\d+)?"
    r"|sin|cos|tan|sqrt|mod|base|who (?:ha[sd]|have|is|was|got)|(?:one|two) in|after"
    r"|(?:close|next|due|according) to|(?:factors?|third|half|quarter|fourth|fifth) of"
    r"|(?:plus|más) de|no es|als)|(?:没有?|不|如果有?)[\u4e00-\u9fff]{0,3}"
    r"|大于|小于|超过|至少|最多|介于|多于|少于)\s*(?:(?:about|exactly|an?|the|either|just|possibly"
    r"|=)\s+)*[({]?\s*$",
    re.IGNORECASE,
)
"""What makes a number a bound, or the argument of a function."""

_TERM_BEHIND = re.compile(
    rf"-?ish\b|\)?\s?[\^√!|_\\‰]|\s?/(?!\s*$|(?!sqrt|log)[a-z]{{3}})|\s?[*+<>≥≤≠±∪×](?!\s*$)"
    rf"|[({{\[…]"
    rf"|\.\.\.|\s:\s?\d|:\d|\.\\|\s-\s?\d|\s-\s(?-i:[b-z])(?!\w|\s[a-z]{{2}})|-\w|\s?\+|(?:st|nd"
    rf"|rd|th)\b"
    rf"|\s?(?-i:{MONTHS})\b|(?-i:\s[A-Z][a-z]+\s[A-Z][a-z]+)|\s(?-i:BCE?|AD|CE)\b"
    r"|\s\(?(?:in )?(?:base|mod|hex|hexadecimal|binary|octal)\b"
    r"|\s(?:[a-z]+(?:redth|sandth|tenth)s?|tenths|thirds|fourths|fifths|sixths|eighths|hoch|raised"
    r"|to the base|to the|of (?:the )?\d|and (?:a|one) (?:half|quarter|third)"
    r"|at the (?:start|outset)"
    r"|(?:\w+\s){0,3}?(?:more|less|fewer|[a-z]+er) than (?:\w+\s){0,2}?\d+|(?:times|x)(?!\s*$))\b",
    re.IGNORECASE,
)
"""What makes a number part of a longer term."""

_BOUND_BEHIND = re.compile(
    r"\s(?:is|was|does|do|did|can|would|will) not\b"
    r"|\s?(?:[^\W\d]+\s+){0,3}?(?:(?:or|and|oder|ou|o|y)\s+(?:above|up|over|plus|moins|más|menos"
    r"|mehr|weniger)"
    r"|at (?:least|most|first)|too|ago|off|(?:up|on)?wards?|past|digits?|decimal places|significant"
    r"|以上|以下|左右|(?:per|an?) \w+ for|[^.;:,]*\bstart(?:ed)? with|per mille"
    r"|to (?:begin|start) with"
    r"|originally|initially|give or take)(?!\w)",
    re.IGNORECASE,
)
_RELATED_BEFORE = re.compile(
    r"(?:\b(?:than(?: or equal to)?|not|never|neither|nor|either|or|except|excluding|besides"
    r"|without|cannot|nearly|almost|barely|hardly|twice|double|triple|half|minus|plus|over|under|above|below|beyond"
    r"|exceeds?|until|maybe|perhaps|possibly|(?:any|every)(?:thing|where|one) but)|n't)"
    r"\s(?:(?:about|approximately|be|been|equal|exactly|just|quite|the|an?|to)\s)*[\W_]*\Z"
    r"|\b(?:between|either)\b[^.;:\n]{1,60}\b(?:and|or)\b[^.;:\n\d]{0,6}\Z"
    r"|(?<![\w.)+*/^-])-?\d[\d.,]*\W*\b(?:and|or)\W*\Z"
    r"|(?<![\w.)+*/^-])(?P<name>[A-Za-z])\s?=\s?[^\s=]{1,40}\W*\bor\W*(?P=name)\s?=\s?\Z",
    re.IGNORECASE,
)
"""What relates marked text to something else, besides bounds."""

_UNRELATED_BEFORE = re.compile(
    r"(?:\bround\w*\b[^.;:]{0,40} up to|\bleft over|\d\s?[+*/^]\s?\S{1,20}\W{1,4}or)\W*\Z",
    re.IGNORECASE,
)
"""What looks like a bound or an alternative, and is none: 3+4 or 7."""

JOINED = re.compile(
    r"[)\]}]?\s?\(?(?:[^\W\d_]+(?:[/^]\w+)?\.?\s?|[%€°]\s?){0,3}?"
    r"(?:(?:[,;&/±|~–—-]|\b(?:or|and|maybe|perhaps|possibly|to|through|till|until|und|oder|bis|ou|et|o|y|e|by|versus|vs)\b"
    r"|或者?|和|到|至)[\s,]*)+"
    r"(?:(?:about|possibly|maybe|perhaps|probably|also|even|approximately|either|an?|is)\s+"
    r"|[A-Za-z]\s?=\s?|[€£(\[{]\s?)*",
    re.IGNORECASE,
)
"""What stands between two numbers that are both put forward."""

_EITHER_FORM = re.compile(r"\W*\bor\W*")
"""What stands between two ways to write one number."""

_APART = re.compile(r"[.,;:(\[=≈—&\n]|\s[-–]\s|\b(?:and|on|in|at|from|by)\b")
"""What parts a number from one behind it that only explains it."""

_COMMA_LANGUAGE = re.compile(
    r"\b(?:antwort|ergebnis|endergebnis|lösung|beträgt|lautet|réponse|résultat|donc|respuesta"
    r"|resultado|risposta|risultato|resposta|antwoord|ответ)\b|\d\s?€",
    re.IGNORECASE,
)
RESULT = re.compile(
    r"(?:[=≈→:]|\b(?:is|are|was|be|makes?|gives?(?: us| me| you)?|gets?|got|equals?|leav(?:es?|ing)"
    r"|total(?:s|ing)?|ha[sd]|have|needs?|pays?|paid|costs?|earns?|earned|making|giving|spends?"
    r"|spent|only"
    r"|then|receives?|obtain(?:s|ed)?|yields?|reach(?:es)?|remain(?:s|ing)?|(?:total|sum) of|to|ist"
    r"|sind|est|sont|es|son))\s*(?:about|a total of|exactly|only)?\s*[$€£(]?-?\s*$",
    re.IGNORECASE,
)
"""What puts the number behind it forward."""

_QUOTES = " \t\n\"'«»"
_WINDOW = 80
"""Characters in front of a number that decide what it means."""


@dataclass(frozen=True)
class Token:
    """A number of a text, from `start` to `end`; None for a term's part, such as an operand."""

    start: int
    end: int
    number: Number | None


def decimal_comma(response: str) -> bool:
    """Whether a response is in a language that writes 1.234,5, by the words for its answer."""
    return _COMMA_LANGUAGE.search(response) is not None


def is_bounded(before: str) -> bool:
    """Whether the text in front of an answer bounds or denies it: more than, ≥."""
    before = _UNRELATED_BEFORE.sub("", plain(before)[-_WINDOW:])
    return any(pattern.search(before) for pattern in (_BOUND_BEFORE, _RELATED_BEFORE))


def lone_number(text: str) -> Number | None:
    """The number that a text consists of, with its unit; None if it is anything else."""
    text = in_one_unit(unmarked(plain(text)).strip(_QUOTES))
    match = NUMBER.match(re.sub(r"(?<!\.)\.$", "", text))
    if not match:
        return None
    number, end = read_number(match, text, comma=False)
    if number is None or not re.fullmatch(r"(?:\s?[^\W\d_]+){0,3}\W*", text[end:]):
        return None
    return settled_number(text, [Token(match.start(), end, number)], 0)


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
    if is_denial(text):
        return None
    clause = without_reason(text, r"\d")
    text = right_side(clause)
    tokens = read_tokens(text, comma) if text else []
    if not text or not tokens:
        return None
    if _are_one(text, tokens):
        text = f"{text[: tokens[0].end]}{text[tokens[1].end :].removeprefix(')')}"
        tokens = tokens[:1]
    if not is_filler(text[: tokens[0].start]):
        return final_number(text, tokens, question)
    different = [token for token in tokens[1:] if token.number != tokens[0].number]
    if different and not _APART.search(text[tokens[0].end : different[0].start]):
        return None
    return settled_number(text, tokens, 0, question, computed=text != clause)


def _are_one(text: str, tokens: Sequence[Token]) -> bool:
    """Whether a text's two numbers are one: 1/2 or 0.5, or 50 %."""
    numbers = [token.number for token in tokens]
    values = {n and n.value / (100 if n.percent else 1) for n in numbers}
    if len(tokens) != 2 or len(values) != 1 or None in values:
        return False
    return _EITHER_FORM.fullmatch(text, tokens[0].end, tokens[1].start) is not None


def final_number(text: str, tokens: Sequence[Token], question: Question = UNKNOWN) -> Number | None:
    """The only number of a text, or the final one behind words like "makes"."""
    if len({token.number for token in tokens}) == 1:
        return settled_number(text, tokens, 0, question)
    is_result = RESULT.search(text[: tokens[-1].start][-_WINDOW:]) is not None
    return settled_number(text, tokens, len(tokens) - 1, question) if is_result else None


def settled_number(
    text: str,
    tokens: Sequence[Token],
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
    if _TERM_BEHIND.match(text, token.end) or _BOUND_BEHIND.match(text, token.end):
        return None
    if not is_plain_answer(text, token.start, token.end, question, computed):
        return None
    for before, after in pairwise(tokens):
        gap = text[before.end : after.start]
        beside = token in (before, after) or before.number == token.number
        if beside and (not gap.strip() or JOINED.fullmatch(gap)):
            return None
    return token.number and replace(token.number, computed=computed)


def read_tokens(text: str, comma: bool) -> list[Token]:
    """The numbers of a text, without those that count or name something: step 3, Room 3."""
    tokens: list[Token] = []
    label_end = None
    for match in NUMBER.finditer(text):
        before = text[max(0, match.start() - _WINDOW) : match.start()].rstrip()
        number, end = read_number(match, text, comma)
        if match["sign"] and (before[-1:].isalnum() or before.endswith((")", "%"))):
            detached = match[0][1:2].isspace() or not text[: match.start()].endswith(" ")
            if detached or before[-1:].isdigit():
                number = None  # an operand: 12 - 5
        elif before.endswith("the") and re.match(r"\d+s\b", match["digits"] + text[match.end() :]):
            number = None  # a decade
        elif before.endswith(("+", "*", "/", "^", "√")) or re.search(r"[-\w)]\($", before):
            number = None  # a term, or the argument of a function
        follows = label_end is not None and JOINED.fullmatch(text[label_end : match.start()])
        is_year = re.fullmatch(r"\d{4}", match["digits"]) and re.search(rf"{MONTHS}$", before)
        if follows or (is_label(before) and not is_year):
            label_end = end
        else:
            tokens.append(Token(match.start(), end, number))
    return tokens
