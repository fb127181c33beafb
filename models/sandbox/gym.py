"""reasoning-gym's items and scores, as jobs: its scorers evaluate answers, so they are confined.

Items are JSON; what JSON lacks, tuples and keys that are no text, is written as objects with one
key, since some scorers tell a tuple from a list.
"""

import importlib
import random
from collections.abc import Mapping
from typing import Any, cast

_TUPLE, _PAIRS = "$tuple", "$pairs"


def encoded(value: Any) -> Any:
    """A JSON value from which `decoded` makes an equal one.

    Raises:
        TypeError: it holds something else than numbers, texts, lists, tuples and dictionaries.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        members = [encoded(member) for member in cast("list[Any]", value)]
        return {_TUPLE: members} if isinstance(value, tuple) else members
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} cannot be stored")
    table = cast("dict[Any, Any]", value)
    if all(isinstance(key, str) and not key.startswith("$") for key in table):
        return {key: encoded(member) for key, member in table.items()}
    return {_PAIRS: [[encoded(key), encoded(member)] for key, member in table.items()]}


def decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [decoded(member) for member in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    table = cast("dict[str, Any]", value)
    if _TUPLE in table:
        return tuple(decoded(member) for member in table[_TUPLE])
    if _PAIRS in table:
        return {decoded(key): decoded(member) for key, member in table[_PAIRS]}
    return {key: decoded(member) for key, member in table.items()}


def tasks(_: Mapping[str, Any]) -> dict[str, list[str]]:
    """The fields of each task's configuration, but its seed and size, by the task's name."""
    return {
        name: [field for field in configuration.__dataclass_fields__ if field not in _OWN_FIELDS]
        for name, (_, configuration) in _datasets().items()
    }


_OWN_FIELDS = ("seed", "size")


def items(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Items `start` to `stop` of a task, drawn from `seed` on.

    Raises:
        ValueError, AssertionError, TypeError: the task refuses its difficulty.
    """
    random.seed(0)  # a few tasks draw from the global generator
    difficulty = decoded(payload["difficulty"])
    start, stop = payload["start"], payload["stop"]
    dataset = _dataset(payload["task"], {**difficulty, "seed": payload["seed"], "size": stop})
    return [encoded(dataset[index]) for index in range(start, stop)]


def score(payload: Mapping[str, Any]) -> float:
    """The score of the answer `text` to an item; 0 where the scorer fails at it."""
    dataset = _dataset(payload["task"], decoded(payload["difficulty"]))
    entry = {name: payload[name] for name in ("question", "answer")}
    entry["metadata"] = decoded(payload["metadata"])
    try:
        return float(dataset.score_answer(payload["text"], entry))
    except Exception:  # noqa: BLE001 - scorers raise anything at answers that they do not expect
        return 0.0


def _datasets() -> dict[str, Any]:
    factory: Any = importlib.import_module("reasoning_gym.factory")
    importlib.import_module("reasoning_gym")
    return factory.DATASETS


def _dataset(task: str, fields: Mapping[str, Any]) -> Any:
    dataset_class, configuration = _datasets()[task]
    configured = configuration(**fields)
    if hasattr(configured, "validate"):
        configured.validate()
    return dataset_class(config=configured)
