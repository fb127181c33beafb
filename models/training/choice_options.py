"""The options of a multiple choice in a data set's columns: their letters, and the gold one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from router.answers.choice_text import lettered


@dataclass(frozen=True)
class Options:
    """Options as the prompt lists them, one a line; their texts and their labels by letter."""

    listed: str
    texts: dict[str, str]
    labels: Mapping[str, str]

    def gold(self, answer: str, is_index: bool) -> str:
        """The letter of the right option.

        Args:
            answer: its letter, its label or its text, or its number from 0.
            is_index: whether the answer may be such a number.

        Raises:
            ValueError: it is none of the options.
        """
        for names in (self.labels, self.texts):
            matching = [letter for letter, name in names.items() if name == answer]
            if len(matching) == 1:
                return matching[0]
        letter = answer.strip(" ().").upper()
        if letter in self.texts:
            return letter
        if is_index and 0 <= int(answer) < len(self.texts):
            return list(self.texts)[int(answer)]
        raise ValueError(f"the answer {answer[:40]!r} is none of the {len(self.texts)} options")


def read_options(value: Any) -> Options:
    """The options of a list of texts, of an object by letter, or of lists `text` and `label`.

    Raises:
        TypeError: it has none of these forms.
    """
    labels: Any = None
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        by_letter = "text" not in table
        value = list(table.values()) if by_letter else table["text"]
        labels = list(table) if by_letter else table.get("label")
    if not isinstance(value, list) or len(cast("list[Any]", value)) < 2:
        raise TypeError("options are neither a list of texts nor an object of letters and texts")
    shown = [str(text) for text in cast("list[Any]", value)]
    texts = lettered(shown)
    is_marked = list(texts.values()) != shown  # "B) 65" has its letter already
    lines = shown if is_marked else [f"{letter}) {text}" for letter, text in texts.items()]
    return Options("\n".join(lines), texts, _labels(texts, labels))


def _labels(texts: Mapping[str, str], labels: Any) -> dict[str, str]:
    names = cast("Sequence[Any]", labels) if isinstance(labels, list) else [*texts]
    return dict(zip(texts, map(str, names), strict=False))
