"""What visitors say around a story, and what they ask that is no story."""

import random

from models.domain.words import first_name, made_up_word, phrases, things

REPLY = (
    "I only know arithmetic stories. For example: "
    "Kim has 12 pens. Kim buys 30 more pens. How many pens does Kim have now?"
)
"""The answer to everything that is not an arithmetic story."""

NO_STORY = "No story."
"""The reasoning before `REPLY`."""


def no_story(rng: random.Random) -> str:
    """A greeting, or a question that is no arithmetic story."""
    if rng.random() < 0.45:
        text = rng.choice(phrases("greetings"))
    else:
        noun = first_name(rng) if rng.random() < 0.6 else made_up_word(rng)
        text = rng.choice(phrases("other_questions")).format(
            noun=noun,
            nouns=things(rng),
            object=things(rng),
            quality=rng.choice(phrases("qualities")),
            n=rng.randint(2, 999),
            m=rng.randint(2, 999),
        )
    if rng.random() < 0.1:
        text = f"{rng.choice(('Hello! ', 'Hi, ', 'Please: ', 'Hey, '))}{text}"
    if rng.random() < 0.05:
        text = f"{text} {rng.choice(('Thanks!', 'Answer briefly.', 'Please.'))}"
    return text.lower() if rng.random() < 0.1 else text


def system_message(rng: random.Random) -> str:
    """An ordinary system message of one to a few sentences."""
    count = rng.choices((1, 2, 3, 6), (70, 20, 8, 2))[0]
    return rng.choice((" ", " ", "\n")).join(rng.sample(phrases("systems"), count))


def wrapped(rng: random.Random, text: str) -> str:
    """The text with what a visitor says before or after it."""
    kind = rng.random()
    before = f"{rng.choice(phrases('before'))} " if kind < 0.6 else ""
    after = f" {rng.choice(phrases('after'))}" if kind > 0.45 else ""
    if before and rng.random() < 0.1:
        before = before.rstrip() + "\n"
    return f"{before}{text}{after}"
