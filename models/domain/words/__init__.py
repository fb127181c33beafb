"""The words of retold stories, one phrase a line, and first names.

Sentences have fields: `who` a person, `owner` its possessive, `he`, `his`, `him` its pronouns,
`other` another person, `n` a number, `item` the things that count, `object` other things. A verb
has its present and its past form: `{who} has|had {n} {item}.`
"""

import random
from functools import cache
from importlib import import_module
from pathlib import Path

_FOLDER = Path(__file__).parent


@cache
def phrases(kind: str) -> tuple[str, ...]:
    """The phrases of a kind: of the file of this name."""
    return tuple((_FOLDER / f"{kind}.txt").read_text(encoding="utf-8").splitlines())


@cache
def first_names() -> tuple[str, ...]:
    """Some 6,400 first names of many languages in Latin letters, sorted; from the library Faker."""
    names: set[str] = set()
    for locale in phrases("locales"):
        provider = import_module(f"faker.providers.person.{locale}").Provider
        for attribute in ("first_names", "first_names_female", "first_names_male"):
            names.update(getattr(provider, attribute, ()))
    return tuple(sorted(name for name in names if name.isascii() and name.isalpha()))


def first_name(rng: random.Random) -> str:
    """A first name, at times one that is in no list."""
    return made_up_word(rng).capitalize() if rng.random() < 0.12 else rng.choice(first_names())


def things(rng: random.Random) -> str:
    """Countable things, at times with a quality, of several words, or made up."""
    kind = rng.random()
    if kind < 0.08:
        return f"{made_up_word(rng)}s"
    if kind < 0.16:
        return rng.choice(phrases("parts"))
    noun = rng.choice(phrases("things"))
    return f"{rng.choice(phrases('qualities'))} {noun}" if kind < 0.28 else noun


def made_up_word(rng: random.Random) -> str:
    """A word of two to four syllables that is in no list."""
    return "".join(rng.choices(phrases("syllables"), k=rng.randint(2, 4)))
