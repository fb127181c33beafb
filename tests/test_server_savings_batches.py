"""How a batch of the ledger's rows becomes arrays for what-ifs."""

import json
from typing import Any

import numpy as np
import pytest
from test_server_savings_report import simulated
from test_server_savings_what_if import value_of

from server.savings.conversation_sums import ConversationSums, hashes_of
from server.savings.estimates import read_alike
from server.savings.what_if import fixed


@pytest.mark.parametrize(
    "estimates",
    [
        [{"low": 0.5, "high": 1}, {"low": 2, "high": 0.25}],
        [{"low": -0.5, "high": 1e-7}, {"low": 2e20, "high": None}],
        [{"k1": 1.0, "e": 2.0, 'a"b}': 3.0}, {"k1": 4.0, "e": 5.0, 'a"b}': 6.0}],
        [{}, {}],
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_estimates_with_the_same_keys_are_read_as_one_matrix(
    estimates: list[dict[str, float]], separators: tuple[str, str]
) -> None:
    alike = read_alike(json.dumps(estimates, separators=separators), len(estimates))
    assert alike is not None
    keys, values = alike
    assert [*keys] == [*estimates[0]]
    expected = np.array([[*estimate.values()] for estimate in estimates], dtype=float)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    "estimates",
    [
        [{"low": 1, "high": 2}, {"high": 1, "low": 2}],
        [{"k1": 1, "k2": 2}, {"k2": 1, "k1": 2}],
        [{"low": 1, "high": 2}, {"low": 1}],
        [{"low": 1}, {"low": 1, "high": 2}],
        [{"low": 1}, None],
        [None, {"low": 1}],
        [{}, {"low": 1}],
    ],
)
def test_estimates_with_other_keys_are_no_matrix(estimates: list[Any]) -> None:
    assert read_alike(json.dumps(estimates), 2) is None


def test_what_if_takes_a_single_request_without_a_conversation() -> None:
    (row,) = [row for row in simulated(30) if row["arm"] == "treated"][:1]
    value = value_of([row | {"conversation": None}], fixed("low"))
    assert value is not None
    assert value.requests == 1


def test_conversations_have_equal_hashes_only_if_they_are_equal() -> None:
    ids = ["ab" * 16, "AB" * 16, "ab" * 15 + "ac", "0" * 32, "ab" * 16]
    hashes = hashes_of(",".join(ids)).tolist()
    assert len({*hashes}) == 4
    assert hashes[0] == hashes[4]
    assert len({*hashes_of(",".join([ids[0], ids[2], ids[3], ids[0]])).tolist()}) == 3


def test_sums_of_conversations_have_the_values_of_each() -> None:
    rng = np.random.default_rng(5)
    conversations = [
        f"{number % 70 * 2654435761 % 2**64:016x}{number % 70:016x}" for number in range(500)
    ]
    values = rng.random((500, 2))
    hashes = hashes_of(",".join(conversations))
    expected: dict[int, float] = {}
    for conversation, value in zip(hashes.tolist(), values.sum(axis=1).tolist(), strict=True):
        expected[conversation] = expected.get(conversation, 0.0) + value
    found: list[float] = []
    with ConversationSums(2) as sums:
        sums.add(hashes[:300], values[:300])
        sums.add(hashes[300:], values[300:])
        for index, part in sums.parts():
            found += np.bincount(index, weights=part.sum(axis=1)).tolist()
    np.testing.assert_allclose(sorted(found), sorted(expected.values()), rtol=1e-12)
