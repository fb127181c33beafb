"""What a question asks for, so that its gold answer need not say it."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from router.answers.units import unit_name

_PERCENT = re.compile(
    r"[%٪]|percent|per cent|prozent|pour ?cent|por ?cent|por ciento|процент|百分|パーセント",
    re.IGNORECASE,
)
_TIME = re.compile(r"\b(?:what|which) (?:time|hour)\b|o'clock|\bwhen\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_COUNTED = re.compile(
    r"\bhow many(?: (?:more|fewer|less|extra|additional|total|other|different|of|the|these|those"
    r"|his|her|their))*((?: [^\W\d_]+){1,4})",
    re.IGNORECASE,
)
_NOT_COUNTED = frozenset(
    re.findall(
        r"\w+",
        """
        a altogether an and are at by can could did do does each for from had has have he i if in
        is it left may might must of on or per she should that the there they to total was we were
        will with would you
        """,
    )
)
"""Words that end the name of what "how many" asks for."""

_WHEN = re.compile(
    r"(?:^|[.?!]\s+)(?:when|in (?:which|what) year) (?:did|was|were|is)\b", re.IGNORECASE
)
_ASKING = re.compile(r"[^.?!\n]*\?")
_LONGEST_QUESTION = 20_000


@dataclass(frozen=True)
class Question:
    """A question's text; empty where it is not known."""

    text: str = ""

    @cached_property
    def speaks_of_percent(self) -> bool:
        return _PERCENT.search(self.text) is not None

    @cached_property
    def speaks_of_time(self) -> bool:
        """Whether it may ask for a time of day."""
        return _TIME.search(self.text) is not None

    @cached_property
    def asks_percent(self) -> bool:
        """Whether its last sentence speaks of percent."""
        asking = _ASKING.findall(self.text)
        return bool(asking) and _PERCENT.search(asking[-1]) is not None

    @cached_property
    def asks_when(self) -> bool:
        return _WHEN.search(self.text) is not None

    @cached_property
    def asks_how(self) -> bool:
        """Whether it asks, in English, for a number: how many, how much, how long."""
        return re.search(r"\bhow (?!to\b)", self.text, re.IGNORECASE) is not None

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(map(stem, _WORD.findall(self.text[-_LONGEST_QUESTION:])))

    @cached_property
    def asking(self) -> frozenset[str]:
        """The stems of its sentences that end with a question mark, or of all if none does."""
        asking = _ASKING.findall(self.text[-_LONGEST_QUESTION:])
        return frozenset(map(stem, _WORD.findall(" ".join(asking) or self.text)))

    @cached_property
    def counted(self) -> frozenset[str]:
        """The stems of what it asks the number of: "how many red marbles"; empty if nothing."""
        stems: set[str] = set()
        for match in _COUNTED.finditer(self.text):
            for word in match[1].split():
                if word.casefold() in _NOT_COUNTED:
                    break
                stems.add(stem(word))
        return frozenset(stems)

    @cached_property
    def unit(self) -> str | None:
        """The unit of which it asks the number: "how many hours"; None for other things."""
        if re.search(r"\bhow old\b", self.text, re.IGNORECASE):
            return "year"
        names = {_unit(match[1].split()) for match in _COUNTED.finditer(self.text)}
        return names.pop() if len(names) == 1 else None


UNKNOWN = Question()


@lru_cache(maxsize=64)
def read_question(text: str) -> Question:
    """A question, of which several answers are often judged."""
    return Question(text)


def stem(word: str) -> str:
    """A word without the endings of plurals and owners: apples, apple and apple's are one."""
    word = word.casefold().removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word if word.endswith("ss") else word.removesuffix("s").removesuffix("e")


def _unit(words: list[str]) -> str | None:
    power = {"square": "^2", "cubic": "^3"}.get(words[0].casefold())
    if power is None:
        return unit_name(words[0])
    name = unit_name(words[1]) if len(words) > 1 else None
    return f"{name}{power}" if name else None
