"""Whether a response gives the gold answer.

1. `response` leaves out thoughts and what is taken back, and finds what is stated as the answer: a
   box, "the answer is", ####, a tag, or bold text. `notation` writes all of it in one way, and
   `surroundings` finds what in the sentence of a box or other marked text changes it.
2. The kind of the gold answer chooses the reader: letters (`choice`, `choice_text`), words and
   dates (`phrase`), tuples and intervals (`collection`), or a number (`number`, with
   values by `numeral`, `units` and `spelled`). `expression` serves gold answers that need algebra.
3. The last statement decides, unless one beside it contradicts it (`_judge`) or a conclusion behind
   it does (`_is_upheld`). Without a statement, the final sentence must conclude (`conclusion`).
4. A number counts only if all words around it are understood (`wording`), as an answer to what was
   asked (`question`). A refusal, an alternative, a bound, a range or a term is wrong.

What is not understood is wrong: a right answer refused costs a sample, a wrong one accepted costs
what is learned from it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.answers.choice import committed_letters, concluded_letters, gold_letters
from router.answers.choice_text import (
    concluded_letter,
    is_no_letter,
    letter_of_number,
    letter_of_text,
)
from router.answers.clause import affirmed, complement, is_denial
from router.answers.collection import (
    commits_to_collection,
    concludes_collection,
    gold_collection,
)
from router.answers.conclusion import concluded_number
from router.answers.notation import plain, unmarked
from router.answers.number import (
    Number,
    committed_number,
    decimal_comma,
    lone_number,
)
from router.answers.phrase import (
    commits_to_phrase,
    concludes_phrase,
    is_phrase,
    is_same_phrase,
    normal,
)
from router.answers.question import UNKNOWN, Question, read_question
from router.answers.response import Response, Statement, is_refusal
from router.answers.spelled import in_digits
from router.answers.surroundings import settled_clause, stated_term


@dataclass(frozen=True)
class Reader:
    """How clauses are compared with a gold answer.

    `commits` is None for a clause that gives no answer of the gold answer's kind. `refuses` says
    that the gold answer itself is a refusal such as "no solution".
    """

    commits: Callable[[str], bool | None]
    concludes: Callable[[Sequence[str]], bool]
    refuses: bool = False


NO_CHOICES: Mapping[str, str] = {}


def is_correct(
    answer: str,
    gold: str,
    truncated: bool = False,
    choices: Mapping[str, str] = NO_CHOICES,
    question: str = "",
) -> bool:
    """Whether an answer gives the gold one; False where only algebra could tell, see `verdict`.

    Args:
        answer: the text that the model shows, with or without its thoughts.
        gold: the right answer.
        truncated: whether the answer was cut off, so that its final word may be incomplete.
        choices: the texts of a multiple choice by letter, which may be given instead of the letter.
        question: what was asked; if it speaks of percent, 5 % may be 5.
    """
    return verdict(answer, gold, truncated, choices, question) is True


def verdict(
    answer: str,
    gold: str,
    truncated: bool = False,
    choices: Mapping[str, str] = NO_CHOICES,
    question: str = "",
) -> bool | None:
    """Whether an answer gives the gold one; None where the gold answer needs algebra."""
    response = Response(answer, truncated)
    if not gold.strip():
        return False
    reader = _reader(gold, response, choices, read_question(question))
    if reader is None:
        return True if _states_text(response, gold) else None
    return _judge(response, reader)


def needs_algebra(gold: str) -> bool:
    """Whether a gold answer is neither number, letter, phrase nor collection of numbers."""
    return _reader(gold, Response("")) is None


def _judge(response: Response, reader: Reader) -> bool:
    read = ((item, _commits(item, reader)) for item in reversed(response.statements))
    committed = ((item, right) for item, right in read if right is not None)
    item, right = next(committed, (None, False))
    if item is None:
        refuses = response.refuses and not reader.refuses
        return not refuses and reader.concludes(response.sentences)
    for earlier, agrees in committed if right else ():
        if not response.conflicts(earlier, item):
            break
        item, right = earlier, agrees
        if not right:
            break
    return right and _is_upheld(response, item.end, reader)


def _commits(item: Statement, reader: Reader) -> bool | None:
    """Whether a statement gives the gold answer, also with what its sentence says around it."""
    right = reader.commits(item.text)
    if not right or not item.is_marked:
        return right
    clause = settled_clause(item)
    return clause is not None and (clause == item.text or reader.commits(clause) is True)


_ANSWER = re.compile(r"\d|[A-Z]\b")
_CONCLUSION = re.compile(
    r"\W*(?:so|therefore|thus|hence|finally|in total|altogether|here|but|however|instead"
    r"|both\b(?!.*\b(?:wrong|incorrect|false|fail|not|n't)))\b"
    r"|.*\b(?:(?:also|equally) (?:an? |be |the )?(?:\w+ )?(?:answer|correct|right|works?|fits|valid"
    r"|possible)|(?:works?|correct) (?:too|as well))\b",
    re.IGNORECASE,
)
"""A sentence that concludes, or calls something else right as well."""

_REVISION = re.compile(
    r"\W*(?:(?:actually|update|sorry|no|maybe|perhaps|possibly|rather|or|also)\b[,:!]?\s+"
    r"|(?=(?:it|that|this) (?:could|might|may)\b))"
    r"(?:(?:(?:it|that|this)(?:'s| is| was| may| might| could)|maybe|also|be|rather)\s)*"
    r"[^\s,]{1,20}\W*",
    re.IGNORECASE,
)
"""A sentence that gives another answer: no, it is 8."""


def _is_upheld(response: Response, end: int, reader: Reader) -> bool:
    """Whether no conclusion behind a stated answer contradicts it."""
    tail = [
        sentence
        for sentence in Response(response.text[end:]).sentences
        if _CONCLUSION.match(sentence) or _REVISION.fullmatch(sentence)
    ]
    verdicts = [
        reader.commits(sentence)
        for sentence in tail
        if _ANSWER.search(sentence) or _REVISION.fullmatch(sentence)
    ]
    return all(verdict is True for verdict in verdicts) or reader.concludes(tail)


def _reader(
    gold: str,
    response: Response,
    choices: Mapping[str, str] = NO_CHOICES,
    question: Question = UNKNOWN,
) -> Reader | None:
    letters = gold_letters(gold)
    if letters is not None and len(letters) == 1 and choices.keys() > letters:
        return _choice_reader(next(iter(letters)), choices, response)
    if letters is not None:
        return Reader(
            lambda clause: _same_letters(clause, letters),
            lambda sentences: concluded_letters(sentences) == letters,
        )
    items = gold_collection(gold)
    if items is not None:
        return Reader(
            lambda clause: commits_to_collection(clause, items),
            lambda sentences: concludes_collection(sentences, items),
        )
    if is_ratio(gold):
        ratio = unmarked(plain(gold)).strip()
        return Reader(
            lambda clause: commits_to_phrase(_as_ratio(clause, ratio), ratio),
            lambda sentences: concludes_phrase([_as_ratio(s, ratio) for s in sentences], ratio),
        )
    if is_phrase(gold):
        return Reader(
            lambda clause: commits_to_phrase(clause, gold),
            lambda sentences: concludes_phrase(sentences, gold),
            refuses=is_refusal(gold),
        )
    number = gold_number(gold)
    return None if number is None else _number_reader(number, gold, response, question)


def _assigned(text: str) -> str | None:
    """The variable to which a text assigns its number, or None."""
    match = re.search(r"(?<![A-Za-z\d^*/+-])\s*([A-Za-z])\s*=[^=A-Za-z]*$", plain(text))
    return match[1] if match else None


_VALUE = re.compile(r"\W*([A-Za-z])\s*=\s*[^\s=]{1,40}\W*")
"""A line that gives the value of a variable."""


def _roundings(text: str) -> tuple[str, ...]:
    """A text as it is, and without the rounded value behind an exact one: 7/3 ≈ 2.33."""
    exact, _, rounded = text.replace("\\approx", "≈").rpartition("≈")
    return (text, exact) if re.search(r"\d\W*$", exact) and re.search(r"\d", rounded) else (text,)


_RATIO = re.compile(r"\d+\s?:\s?\d+(?:\s?:\s?\d+)?(?:\s?[ap]\.?m\.?)?", re.IGNORECASE)


def is_ratio(gold: str) -> bool:
    """Whether a gold answer is a ratio or a time of day."""
    return _RATIO.fullmatch(unmarked(plain(gold)).strip()) is not None


_AFTERNOON = re.compile(r"(?<!\d)(\d{1,2}):(\d\d)\s?p\.?m\b\.?", re.IGNORECASE)


def _as_ratio(text: str, gold: str) -> str:
    """A text with "3 to 2" as 3:2, and without a.m. and p.m. if the gold answer leaves them out."""
    if not re.search(r":\d\d\b", gold):
        return re.sub(r"(?<![\d.])(\d+) to (\d+)(?=\W*$)", r"\1:\2", text)
    if re.search(r"m\.?\s*$", gold, re.IGNORECASE):
        return text
    if int(re.split(r"\D", gold.strip(), maxsplit=1)[0] or 0) > 12:
        text = _AFTERNOON.sub(lambda match: f"{int(match[1]) % 12 + 12}:{match[2]}", text)
    return re.sub(r"(?<=:\d\d)\s?[ap]\.?m\b\.?", "", text, flags=re.IGNORECASE)


def gold_number(gold: str) -> Number | None:
    """The number that a gold answer such as 1,200, 3/4, 5% or "x = 12 m" is, or None."""
    number = lone_number(gold)
    if number is None and re.match(r"\W*[a-zA-Z]\s*=", plain(gold)):
        return committed_number(gold)
    return number


def _number_reader(number: Number, gold: str, response: Response, question: Question) -> Reader:
    variable = _assigned(gold)
    names = {variable} if variable else question.variables
    is_named = bool(names)
    comma = decimal_comma(response.text)

    def commits(clause: str) -> bool | None:
        clause = in_digits(clause)
        if not re.search(r"\d", plain(clause)):
            return False if is_denial(affirmed(clause)) else None
        if is_named and _assigned(clause) not in {None, *names}:
            return False
        return any(
            value is not None and value.equals(number, question)
            for value in (committed_number(text, comma, question) for text in _roundings(clause))
        )

    def concludes(sentences: Sequence[str]) -> bool:
        if is_named and sentences and _assigned(sentences[-1]) not in {None, *names}:
            return False
        values = [match[1] for text in sentences if (match := _VALUE.fullmatch(text))]
        if len(set(values)) > 1 and names != {values[-1]} and _VALUE.fullmatch(sentences[-1]):
            return False
        spelled = [in_digits(sentence) for sentence in sentences]
        *earlier, final = spelled or [""]
        return any(
            value is not None and value.equals(number, question)
            for value in (
                concluded_number([*earlier, text], comma, question) for text in _roundings(final)
            )
        )

    return Reader(commits, concludes)


def _choice_reader(letter: str, choices: Mapping[str, str], response: Response) -> Reader:
    comma = decimal_comma(response.text)

    def commits(clause: str) -> bool | None:
        if by_text := letter_of_text(clause, choices):
            return by_text == letter
        if is_no_letter(clause, choices):
            return False
        by_letter = committed_letters(clause)
        if by_letter is not None:
            return by_letter == frozenset(letter)
        by_number = letter_of_number(clause, choices, comma)
        return None if by_number is None else by_number == letter

    def concludes(sentences: Sequence[str]) -> bool:
        if by_text := letter_of_text(response.text, choices):
            return by_text == letter
        if sentences and is_no_letter(sentences[-1], choices):
            return False
        letters = concluded_letters(sentences)
        return (letters or {concluded_letter(sentences, choices, comma)}) == {letter}

    return Reader(commits, concludes)


def _same_letters(clause: str, letters: frozenset[str]) -> bool | None:
    committed = committed_letters(clause)
    return None if committed is None else committed == letters


def _states_text(response: Response, gold: str) -> bool:
    """Whether an answer is the gold one character by character, spaces and styles apart."""
    stated = stated_term(response.statements[-1]) if response.statements else response.text
    if stated is None:
        return False
    term = complement(response.sentences[-1]) if response.sentences else None
    is_term = not response.statements and term is not None and _bare(term) == _bare(gold)
    return is_term or _bare(stated) == _bare(gold) or is_same_phrase(stated, gold)


def _bare(text: str) -> str:
    return re.sub(r"[\s{}]|\\(?=[a-z])", "", plain(text)).strip(".")


__all__ = ["NO_CHOICES", "gold_number", "is_correct", "needs_algebra", "normal", "verdict"]
