"""Named features of a conversation, cheap to compute; the same code fits and serves.

Counts enter as log(1 + n). Of a long text only HALF_WINDOW characters at each end are measured, the
rest by its length, so the cost of a huge prompt is bounded. Knows nothing of efforts.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import log1p, log10

import numpy as np

from router.arrays import Array
from router.conversation import routed_text
from router.keywords import CHINESE, ENGLISH, GROUPS
from router.messages import ANSWERING_ROLES, Conversation, read_messages
from router.vocabulary import Words

FEATURES_VERSION = 1
"""Raise it when a feature changes its meaning; an artifact is valid for one version only."""

HALF_WINDOW = 6_000
"""Characters measured at each end of the routed text."""

_HAN_WINDOW = 1_500
"""Characters at each end that are searched for Chinese words; substring searches are slow."""

_WORDLIKE = re.compile(r"[^\W_]")
_CHOICE = re.compile(r"(?m)(?:^|\s)\(?[A-J][.):]\s")
_ENDS = (". ", ".\n", "? ", "?\n", "! ", "!\n")
_WIDE_COMMAS, _WIDE_ENDS, _WIDE_QUESTION = "\uff0c\uff1b\u3001", "\u3002\uff01\uff1f", "\uff1f"
_MINUS, _TIMES, _DIVIDE, _QUOTE = "\u2212", "\u00d7", "\u00f7", "\u201c"


def _translation(alphabet: bytes) -> bytes:
    """A table for `bytes.translate`: bytes of `alphabet` to lower case, all others to spaces."""
    return bytes(ord(bytes([b]).lower()) if b in alphabet else 32 for b in range(256))


_UPPER = bytes(range(ord("A"), ord("Z") + 1))
_LETTERS = _UPPER + _UPPER.lower()
_DIGITS = b"0123456789"
_WORD_BYTES = _translation(_LETTERS)
_NUMBER_BYTES = _translation(_DIGITS + b".,")
_HAN_LEADS = bytes(range(0xE3, 0xEE))
"""First UTF-8 bytes of U+3000 to U+DFFF: Chinese, Japanese and Korean."""
_FIRST_HAN, _LAST_HAN = "\u3041", "\ud7ff"
"""Each character of those scripts counts as one word."""
_OTHER_LEADS = bytes(b for b in range(0xC2, 0xF5) if b not in _HAN_LEADS)
_WORD_GROUPS: dict[bytes, tuple[int, ...]] = {}
for _index, _group in enumerate(GROUPS):
    for _word in ENGLISH[_group].encode().split():
        _WORD_GROUPS[_word] = tuple({*_WORD_GROUPS.get(_word, ()), _index})
_HAN_GROUPS = tuple(
    (word, GROUPS.index(g)) for g, words in CHINESE.items() for word in words.split()
)


class _Logs(dict[int, float]):
    """log(1 + count): of small counts from a table, which is a fifth of the cost."""

    def __missing__(self, count: int) -> float:
        return log1p(count)


_log = _Logs((count, log1p(count)) for count in range(256)).__getitem__

_COUNTED = (
    "characters", "words", "distinct_words", "lines", "blank_lines", "sentences", "clauses",
    "questions", "numbers", "distinct_numbers", "long_numbers", "digits", "decimals", "upper",
    "symbols", "plus", "minus", "times", "divide", "equals", "compare", "brackets", "square",
    "braces", "backslashes", "dollars", "powers", "underscores", "code_fences", "semicolons",
    "indented", "quotes", "percent", "choices", "han", "other",
)  # fmt: skip
_SHARES = (
    "digit_share", "symbol_share", "han_share", "other_share", "distinct_share", "word_length",
    "largest_number", "numbers_linear", "sentences_linear", "ends_with_question",
)  # fmt: skip
_READ_WINDOW = 1_500
"""Characters whose words count at each end of the messages that ask and instruct."""
_CONTEXT = ("turns", "assistant_turns", "tool_turns", "context_characters")

FEATURE_NAMES: tuple[str, ...] = (
    *_COUNTED,
    *(f"words_{group}" for group in GROUPS),
    *_SHARES,
    *_CONTEXT,
)
CONTEXT_FEATURES = len(_CONTEXT)
"""How many features, the last ones, describe the conversation around the routed text."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's features `x` (len(FEATURE_NAMES),) and the words of its routed text.

    `wordless`: it has no letter and no digit of any script. `read`: the words of all user, system
    and developer messages.
    """

    x: Array
    words: Words
    wordless: bool
    read: Words


def features(messages: object) -> Array:
    """The feature vector (len(FEATURE_NAMES),) of any `messages` value; never raises."""
    return read_prompt(read_messages(messages)).x


def read_prompt(conversation: Conversation) -> Prompt:
    """The features and words of a conversation's routed text."""
    text = routed_text(conversation)
    users = assistants = tools = characters = 0
    texts: list[str] = []
    for turn in conversation.turns:
        users += turn.role == "user"
        assistants += turn.role == "assistant"
        tools += turn.tool_result
        characters += len(turn.text)
        if turn.role not in ANSWERING_ROLES and not turn.tool_result:
            texts.append(turn.text)
    ends = window(text)
    counts, groups, shares, words = _measure(ends)
    counts[0] = len(text)
    context = (users, assistants, tools, characters)
    values = [*map(_log, counts), *map(_log, groups), *shares, *map(_log, context)]
    x = np.fromiter(values, np.float64, len(values))  # half the cost of np.array
    read = words if texts == [text] else _words(window("\n".join(texts), _READ_WINDOW))
    return Prompt(x, words, not words and _WORDLIKE.search(ends) is None, read)


def window(text: str, half: int = HALF_WINDOW) -> str:
    """The first and the last `half` characters of a text."""
    return text if len(text) <= 2 * half else text[:half] + text[-half:]


def _measure(text: str) -> tuple[list[int], list[int], tuple[float, ...], Words]:
    """Counts in the order of _COUNTED and of GROUPS, the values of _SHARES, and the words."""
    size = max(len(text), 1)
    ascii_only = text.isascii()
    data = text.encode(errors="replace")

    def count(part: str) -> int:
        return text.count(part) if part in text else 0  # a third of the cost where it is absent

    def count_bytes(kinds: bytes) -> int:
        return len(data) - len(data.translate(None, kinds))

    letters, digits = count_bytes(_LETTERS), count_bytes(_DIGITS)
    han, foreign = (0, 0) if ascii_only else (count_bytes(_HAN_LEADS), count_bytes(_OTHER_LEADS))
    symbols = max(size - letters - digits - han - foreign - count(" ") - count("\n"), 0)
    every_word = data.translate(_WORD_BYTES).split()
    words = Counter(every_word)
    total, distinct = len(every_word), len(words)
    pieces = data.translate(_NUMBER_BYTES).split()
    numbers = [number for piece in pieces if (number := piece.strip(b".,"))]

    def wide(characters: str) -> int:
        return 0 if ascii_only else sum(map(count, characters))

    sentences = sum(map(count, _ENDS)) + wide(_WIDE_ENDS) + text.endswith((".", "?", "!"))
    questions = count("?") + wide(_WIDE_QUESTION)
    lines = count("\n") + 1
    counts = [
        size, total, distinct, lines, count("\n\n"), sentences,
        count(",") + count(";") + wide(_WIDE_COMMAS), questions, len(numbers),
        len(set(numbers)), sum(len(number) >= 3 for number in numbers), digits,
        sum(number.find(b".") >= 0 for number in numbers), count_bytes(_UPPER), symbols, count("+"),
        count("-") + wide(_MINUS), count("*") + wide(_TIMES), count("/") + wide(_DIVIDE),
        count("="), count("<") + count(">"), count("("), count("["), count("{"), count("\\"),
        count("$"), count("^"), count("_"), count("```"), count(";\n"),
        count("\n  ") + count("\n\t"), count('"') + wide(_QUOTE), count("%"), _choices(text),
        han, foreign,
    ]  # fmt: skip
    shares = (
        digits / size, symbols / size, han / size, foreign / size, distinct / max(total, 1),
        letters / max(total, 1) / 10, _magnitude(numbers), min(len(numbers), 40) / 10,
        min(max(sentences, lines), 40) / 10, float(text.rstrip()[-1:] in ("?", _WIDE_QUESTION)),
    )  # fmt: skip
    groups = _groups(text, words, han)
    if han:
        words.update(_han(text))
    return counts, groups, shares, words


def _words(text: str) -> Words:
    """Occurrences of each word, as `_measure` counts them."""
    words = Counter(text.encode(errors="replace").translate(_WORD_BYTES).split())
    if not text.isascii():
        words.update(_han(text))
    return words


def _han(text: str) -> Iterator[bytes]:
    """The characters that count as words each."""
    return (c.encode() for c in window(text, _HAN_WINDOW) if _FIRST_HAN <= c <= _LAST_HAN)


def _choices(text: str) -> int:
    """Number of lettered options; searched for only where a second option is possible."""
    return len(_CHOICE.findall(text)) if "B)" in text or "B." in text or "B:" in text else 0


def _magnitude(numbers: list[bytes]) -> float:
    """log10 of 1 + the largest integer part; its length where that is over 18 digits."""
    integers = [*{*numbers}]
    together = b"".join(integers)
    if together.find(b",") >= 0 or together.find(b".") >= 0:  # `in` first makes an exception
        integers = [number.replace(b",", b"").partition(b".")[0] for number in integers]
    longest = max(map(len, integers), default=0)
    if longest > 18:
        return float(min(longest, 100))
    largest = max([digits for digits in integers if len(digits) == longest], default=b"")
    return log10(1 + int(largest or b"0"))


def _groups(text: str, words: Words, han: int) -> list[int]:
    totals = [0] * len(GROUPS)
    for word, occurrences in words.items():
        for index in _WORD_GROUPS.get(word, ()):
            totals[index] += occurrences
    if han:
        ends = window(text, _HAN_WINDOW)
        for word, index in _HAN_GROUPS:
            totals[index] += ends.count(word)
    return totals
