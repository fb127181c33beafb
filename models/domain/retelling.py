"""Stories retold: the numbers of a story in other words, with what visitors say around them.

`models.domain.stories` tells every story with twelve names, ten things and some twenty sentences. A
model that learned only those fails on the thirteenth name. Here the same chain of numbers is told
with thousands of names, hundreds of things and sentences, in the present or the past, politely or
after a system message; and a share of the conversations holds no story at all.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from models.domain.stories import (
    ITEMS,
    MAX_STEPS,
    PEOPLE,
    Split,
    Step,
    Story,
    split_of,
    stories,
    tell,
)
from models.domain.visitors import REPLY, no_story, system_message, wrapped
from models.domain.words import first_name, phrases, things

Message = dict[str, str]

LARGEST = 9_999
"""The largest total of a story with large numbers."""

_TENSE = re.compile(r"([\w']+)\|([\w']+)")
_HE = (("he", "his", "him"), ("she", "her", "her"))
_OLD_PEOPLE = re.compile(rf"\b(?:{'|'.join(PEOPLE)})\b")
_OLD_ITEMS = re.compile(rf"\b(?:{'|'.join(ITEMS)})\b")
_SENTENCE_END = re.compile(r"(?<=\.) ")
_FORMS = ("plain", "renamed", "reworded", "retold")
_FORM_WEIGHTS = (11, 10, 28, 51)
_LARGE_FORM_WEIGHTS = (35, 20, 20, 25)
_JOINS = (",", " and", ", and", ", then", " and then", ", and then", ";", ", but")


@dataclass(frozen=True)
class Conversation:
    """Messages that end with the user's, and the story that they ask for, if they do."""

    messages: list[Message]
    story: Story | None


@dataclass
class _Telling:
    """The choices that hold for one whole story."""

    rng: random.Random
    who: str
    other: str
    item: str
    object: str
    past: bool
    pronouns: float
    words: float
    he: tuple[str, str, str]

    @classmethod
    def drawn(
        cls,
        rng: random.Random,
        pronouns: Sequence[float],
        who: str | None = None,
        item: str | None = None,
        past: float = 0,
        words: Sequence[float] = (),
    ) -> "_Telling":
        """Choices drawn from those given; `past` is a probability. Names and things are others."""
        return cls(
            rng,
            who=who or first_name(rng),
            other=first_name(rng),
            item=item or things(rng),
            object=things(rng),
            past=past > 0 and rng.random() < past,
            pronouns=rng.choice(pronouns),
            words=rng.choice(words) if words else 0,
            he=rng.choice(_HE),
        )

    def number(self, n: int) -> str:
        numbers = phrases("numbers")
        if n < len(numbers) and self.rng.random() < self.words:
            return numbers[n]
        return _figures(self.rng, n)

    def sentence(self, patterns: Sequence[str], n: int, opens: bool = False) -> str:
        pattern = self.rng.choice(patterns)
        pattern = _TENSE.sub(lambda match: match[2 if self.past else 1], pattern)
        pronoun = not opens and self.rng.random() < self.pronouns
        he, his, him = self.he
        text = pattern.format(
            who=(he if pattern.startswith("{who}") else him) if pronoun else self.who,
            owner=his if pronoun else f"{self.who}'s",
            he=he,
            his=his,
            him=him,
            other=self.other,
            item=self.item,
            object=self.object,
            n=self.number(n),
        )
        if pronoun:
            text = text.replace(f"does {him} ", f"does {he} ").replace(f"did {him} ", f"did {he} ")
            text = text.replace(f"has {him} ", f"has {he} ").replace(
                f" that {him} ", f" that {he} "
            )
            text = text.replace(f"will {him} ", f"will {he} ")
            text = text.replace(f"{self.item} {him} has", f"{self.item} {he} has")
        return text[0].upper() + text[1:]


def _figures(rng: random.Random, n: int) -> str:
    """The number in figures, mostly with a comma before the thousands."""
    return f"{n:,}" if n >= 1000 and rng.random() < 0.7 else str(n)


def retell(rng: random.Random, story: Story) -> str:
    """The story's numbers in other words."""
    if rng.random() < 0.3:
        return _renamed(rng, story.prompt)
    telling = _Telling.drawn(rng, (0, 0, 0.3, 0.8), past=0.35, words=(0, 0, 0, 0.1, 0.8))
    distractions = rng.choice((0, 0.1, 0.25))
    joins, links = rng.choice((0, 0, 0.15, 0.5)), rng.choice((0, 0.15, 0.4))
    sentences = [telling.sentence(phrases("starts"), story.steps[0].before, opens=True)]
    steps: list[str] = []
    for step in story.steps:
        if rng.random() < distractions:
            steps.append(telling.sentence(phrases("distractions"), rng.randint(2, 60)))
        sentence = telling.sentence(_patterns(step), step.operand)
        if rng.random() < links:
            sentence = f"{rng.choice(phrases('links'))} {_lowered(sentence, telling)}"
        elif steps and rng.random() < joins:
            sentence = f"{steps.pop()[:-1]}{rng.choice(_JOINS)} {_lowered(sentence, telling)}"
        steps.append(sentence)
    question = telling.sentence(phrases("questions"), 0)
    if rng.random() < 0.04:
        return " ".join([question, *sentences, *steps])
    if rng.random() < 0.05:
        question = (
            f"{rng.choice(('So', 'Now', 'In the end', 'And'))}, {_lowered(question, telling)}"
        )
    return ("\n" if rng.random() < 0.04 else " ").join([*sentences, *steps, question])


def _patterns(step: Step) -> tuple[str, ...]:
    kind = {"+": "additions", "-": "subtractions"}.get(step.symbol)
    return phrases(kind or ("doublings" if step.operand == 2 else "triplings"))


def _lowered(sentence: str, telling: _Telling) -> str:
    """The sentence with a small first letter, unless it begins with a name."""
    if sentence.startswith((telling.who, telling.other, "I ")):
        return sentence
    return sentence[0].lower() + sentence[1:]


def reword(rng: random.Random, story: Story) -> str:
    """The story's own sentences, one to three of them in other words."""
    sentences = _SENTENCE_END.split(story.prompt)
    who, item = (words.findall(sentences[0])[0] for words in (_OLD_PEOPLE, _OLD_ITEMS))
    counting = [
        place
        for place, sentence in enumerate(sentences)
        if re.search(rf"\b(?:{who}|{item})\b", sentence)
    ]
    telling = _Telling.drawn(rng, (0, 0.5), who, item)
    last = len(counting) - 1
    for turn in rng.sample(range(last + 1), min(last + 1, rng.randint(1, 3))):
        if turn == 0:
            text = telling.sentence(phrases("starts"), story.steps[0].before, opens=True)
        elif turn == last:
            text = telling.sentence(phrases("questions"), 0)
        else:
            step = story.steps[turn - 1]
            text = telling.sentence(_patterns(step), step.operand)
        sentences[counting[turn]] = text
    return " ".join(sentences)


def _renamed(rng: random.Random, text: str) -> str:
    """The text of a story with other names, other things, or both."""
    kind = rng.random()
    if kind < 0.7:
        text = rename_people(rng, text)
    return rename_things(rng, text) if kind > 0.3 else text


def rename_people(rng: random.Random, text: str) -> str:
    """The text of a story with other people."""
    return _replaced(text, _OLD_PEOPLE, lambda: first_name(rng))


def rename_things(rng: random.Random, text: str) -> str:
    """The text of a story with other things."""
    return _replaced(text, _OLD_ITEMS, lambda: things(rng))


def _replaced(text: str, words: re.Pattern[str], draw: Callable[[], str]) -> str:
    """The text with another word for each different one that `words` finds."""
    for old in sorted(set(words.findall(text))):
        text = re.sub(rf"\b{old}\b", draw(), text)
    return text


def large_story(rng: random.Random, steps: int, split: Split) -> Story:
    """A story of the split whose totals reach four digits, in the sentences of `stories`."""
    while True:
        total = start = rng.randint(200, 6_000)
        chain: list[Step] = []
        for _ in range(steps):
            operand = rng.choice(
                (rng.randint(2, 99), rng.randint(100, 999), rng.randint(1000, 4000))
            )
            symbol = rng.choice("+-")
            if (symbol == "-" and operand >= total) or (
                symbol == "+" and total + operand > LARGEST
            ):
                symbol = "-" if symbol == "+" else "+"
            result = total + operand if symbol == "+" else total - operand
            if not 0 < result <= LARGEST:
                break
            chain.append(Step(symbol, operand, total, result))
            total = result
        if len(chain) == steps and split_of(start, tuple(chain)) == split:
            prompt = tell(rng, chain, 99, lambda n: _figures(rng, n))
            return Story("", prompt, str(total), steps, tuple(chain))


def sum_of(rng: random.Random, story: Story) -> str:
    """The story's numbers as a sum without a story; for additions and subtractions only."""
    spaced = rng.random() < 0.6
    signs = {"+": " plus ", "-": " minus "} if rng.random() < 0.25 else {"+": "+", "-": "-"}
    text = f"{story.steps[0].before}"
    for step in story.steps:
        sign = signs[step.symbol]
        text += f" {sign.strip()} {step.operand}" if spaced else f"{sign}{step.operand}"
    return rng.choice(phrases("sums")).format(sum=text)


def conversations(
    seed: int, split: Split = "train", low: int = 1, high: int = MAX_STEPS
) -> Iterator[Conversation]:
    """An endless stream of conversations on stories of one split, with `low` to `high` steps.

    Stories with large numbers have at most six steps, whatever `low` and `high` are.
    """
    rng = random.Random(f"retold:{seed}" if split == "train" else f"retold:{split}:{seed}")
    source = stories(seed, split, low, high)
    while True:
        text, story = _question(rng, next(source), split)
        messages: list[Message] = []
        if rng.random() < 0.35:
            messages.append({"role": "system", "content": system_message(rng)})
        if rng.random() < 0.1:
            messages += _history(rng, source, split)
        yield Conversation([*messages, {"role": "user", "content": text}], story)


def _question(rng: random.Random, story: Story, split: Split) -> tuple[str, Story | None]:
    kind = rng.random()
    if kind < 0.05:
        return no_story(rng), None
    if kind < 0.08 and all(step.symbol != "*" for step in story.steps) and len(story.steps) < 5:
        return sum_of(rng, story), story
    if kind < 0.22:
        story = large_story(rng, rng.choice((1, 1, 2, 2, 3, 4, 5, 6)), split)
    form = rng.choices(_FORMS, _LARGE_FORM_WEIGHTS if kind < 0.22 else _FORM_WEIGHTS)[0]
    if form == "retold":
        text = retell(rng, story)
    else:
        text = reword(rng, story) if form == "reworded" else story.prompt
        if form == "renamed" or (form == "reworded" and rng.random() < 0.5):
            text = _renamed(rng, text)
    if rng.random() < 0.4:
        text = wrapped(rng, text)
    if rng.random() < 0.03:
        text = text.lower()
    return text, story


def _history(rng: random.Random, source: Iterator[Story], split: Split) -> list[Message]:
    """One to three earlier turns with their answers."""
    turns: list[Message] = []
    for _ in range(rng.choices((1, 2, 3), (70, 20, 10))[0]):
        text, story = _question(rng, next(source), split)
        answer = f"The answer is {story.answer}." if story else REPLY
        turns += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return turns
