"""What a question asks for, so that its gold answer need not say it."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from router.answers.units import dimension, scale, unit_name

_PERCENT = re.compile(
    r"[%٪]|percent|per cent|prozent|pour ?cent|por ?cent|por ciento|процент|百分|パーセント",
    re.IGNORECASE,
)
_ASKS_PERCENT = re.compile(
    r"\b(?:what|which|how many|in|a|the) (?:is the )?percent(?:age)?\b|prozentsatz|pourcentage"
    r"|porcentaje"
    r"|percentage of\b|percent (?:increase|decrease)",
    re.IGNORECASE,
)
_TIME_OF_DAY = re.compile(r"\b(?:what|which) (?:time|hour)\b|o'clock|\bwhen\b", re.IGNORECASE)
_WHEN = re.compile(
    r"(?:^|[.?!]\s+)(?:when|in (?:which|what) year) (?:did|was|were|is)\b", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_COUNTED = re.compile(
    r"\bhow many(?: (?:more|fewer|less|extra|additional|total|other|different|of|the|these|those"
    r"|his|her|their))*((?: [^\W\d_]+){1,4})",
    re.IGNORECASE,
)
_NOT_COUNTED = frozenset(
    [
        "a",
        "altogether",
        "an",
        "and",
        "are",
        "at",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "each",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "i",
        "if",
        "in",
        "is",
        "it",
        "left",
        "may",
        "might",
        "must",
        "of",
        "on",
        "or",
        "per",
        "she",
        "should",
        "that",
        "the",
        "there",
        "they",
        "to",
        "total",
        "was",
        "we",
        "were",
        "will",
        "with",
        "would",
        "you",
    ]
)
"""Words that end the name of what "how many" asks for."""

_HOW_OLD = re.compile(r"\bhow old\b", re.IGNORECASE)
_MEASURED = (
    (
        re.compile(
            r"\bhow much\b.*\b(?:pa(?:y|id)|cost|earn|ma[dk]e|spen[dt]|save|owe|charged?|profit"
            r"|revenue|money|price|salary|worth|bill|tip|change|savings|earnings)\b|\bprice\b"
            r"|\bsalary\b",
            re.IGNORECASE | re.DOTALL,
        ),
        "usd",
    ),
    (re.compile(r"\bhow long\b", re.IGNORECASE), "s m"),
    (re.compile(r"\bhow much (?:more |less |extra )?time\b", re.IGNORECASE), "s"),
    (re.compile(r"\bhow (?:far|tall|wide|high|deep)\b", re.IGNORECASE), "m"),
    (re.compile(r"\bhow (?:heavy|much .*\bweigh)", re.IGNORECASE), "g"),
    (_HOW_OLD, "year"),
)
"""What a sentence asks for, and units of its kind."""

_IN_UNIT = re.compile(
    r"\bin ((?:square |cubic )?(?:[^\W\d_]{2,}s|feet)|[$€£]|US dollars)\b", re.IGNORECASE
)
_ENGLISH = re.compile(r"\b(?:the|what|which|how|is|are|of|find|if)\b", re.IGNORECASE)
_ASKING = re.compile(r"[^.?!\n]*(?:[.](?=\d)[^.?!\n]*)*\?")
_SYMBOL = re.compile(r"[$€£¥₹°]|(?<=\d)\s?[a-zA-Z]+(?:/[a-z]+)?")
_RATE = re.compile(r"(?:\b(?:per|each|every|an?) |/\s?)([a-z]+)", re.IGNORECASE)
_LONGEST_QUESTION = 20_000


@dataclass(frozen=True)
class Question:
    """A question's text; empty where it is not known."""

    text: str = ""

    @cached_property
    def is_english(self) -> bool:
        return _ENGLISH.search(self.text) is not None

    @cached_property
    def asking_text(self) -> str:
        """Its sentences that end with a question mark, and what follows; all where none does."""
        text = self.text[-_LONGEST_QUESTION:]
        return " ".join([*_ASKING.findall(text), text.rpartition("?")[2]])

    @cached_property
    def variables(self) -> frozenset[str]:
        """Small letters that stand for numbers."""
        return frozenset(re.findall(r"(?<![A-Za-z'])[b-z](?![A-Za-z'])", self.text))

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(map(stem, _WORD.findall(self.text[-_LONGEST_QUESTION:])))

    @cached_property
    def asking(self) -> frozenset[str]:
        """The stems of the sentences that ask."""
        return frozenset(map(stem, _WORD.findall(self.asking_text)))

    @cached_property
    def asks_percent(self) -> bool:
        if _ASKS_PERCENT.search(self.asking_text):
            return True
        is_said = _PERCENT.search(self.asking_text) is not None
        return is_said and not self.counted and not self.measured

    @cached_property
    def speaks_of_time(self) -> bool:
        """Whether it may ask for a time of day."""
        return _TIME_OF_DAY.search(self.text) is not None

    @cached_property
    def asks_when(self) -> bool:
        return _WHEN.search(self.text) is not None

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
        if _HOW_OLD.search(self.asking_text):
            return "year"
        names = {_unit(match[1].split()) for match in _COUNTED.finditer(self.text)}
        names = names or {_unit(match[1].split()) for match in _IN_UNIT.finditer(self.asking_text)}
        if self.text and not self.is_english:
            names |= {unit_name(word) for word in re.findall(r"[^\W\d_]{2,}", self.asking_text)}
        names.discard(None)
        return names.pop() if len(names) == 1 else None

    @cached_property
    def measured(self) -> frozenset[str]:
        """The base units of what it may ask for, such as s and m of "how long"."""
        if self.counted:
            return frozenset()
        units = [names for asks, names in _MEASURED if asks.search(self.asking_text)]
        return (
            frozenset(map(dimension, "".join(units[0]).split())) if len(units) == 1 else frozenset()
        )

    @cached_property
    def units(self) -> frozenset[str]:
        """The units that it mentions."""
        words = [
            *re.findall(r"[^\W\d_]+", self.text),
            *(m.strip() for m in _SYMBOL.findall(self.text)),
        ]
        names = {unit_name(word) for word in words if len(word) > 1 or not word.isalpha()}
        return frozenset(part for name in names if name for part in name.split("/"))

    @cached_property
    def asks_rates(self) -> frozenset[str]:
        """The stems of words behind "per" and the like: "how much a day"."""
        adverbs = [m[1] for m in re.finditer(r"\b(hour|week|month|year|dai)ly\b", self.asking_text)]
        nouns = [*_RATE.findall(self.asking_text), *adverbs]
        return frozenset("day" if noun == "dai" else stem(noun) for noun in nouns)

    @cached_property
    def asks_speed(self) -> bool:
        return (
            re.search(r"\b(?:speed|fast|rate|velocity|unit price)\b", self.asking_text) is not None
        )

    def asks_unit(self, unit: str) -> bool:
        """Whether a number of a unit may be what it asks for."""
        base, _, per = unit.partition("/")
        if per and not self.asks_speed:
            rates = self.asks_rates
            if per not in {unit_name(noun) for noun in rates} and stem(per) not in rates:
                return False
        if self.unit:
            return unit == self.unit or scale(base, self.unit) > 0 or stem(base) in self.counted
        if self.counted:
            return stem(base) in self.counted
        if self.asks_percent or (self.measured and dimension(base) not in self.measured):
            return False
        related = {name for name in self.units if dimension(name) == dimension(base)}
        return base in related or not related or (base in ("cent", "usd") and "eur" not in related)


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
