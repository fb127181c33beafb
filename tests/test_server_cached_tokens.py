"""Cached prompt tokens by the names of vendors, and what discarded attempts spent."""

from typing import Any

import pytest

from server.decide.decision import Decision
from server.engines.usage import Usage, read_usage, with_added
from server.ledger.row import row_of
from server.lifecycle.record import RequestRecord


@pytest.mark.parametrize(
    ("usage", "cached", "written"),
    [
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}, 4, 0),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, 0, 0),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 40}}, 9, 0),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": -1}}, 0, 0),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
            },
            4,
            3,
        ),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}}, 4, 0),
        ({"input_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}, 4, 3),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 5}, 4, 0),
        ({"prompt_tokens": 9, "cached_tokens": 4}, 4, 0),
        ({"prompt_tokens": 9, "cached_tokens": "4"}, 0, 0),
    ],
)
def test_cached_tokens_are_read_by_the_names_of_vendors(
    usage: dict[str, Any], cached: int, written: int
) -> None:
    output = "completion_tokens" if "prompt_tokens" in usage else "output_tokens"
    found = read_usage({"usage": {**usage, output: 5}})
    assert found is not None
    assert (found.prompt, found.cached, found.cache_writes) == (9, cached, written)


def test_a_sum_of_attempts_has_the_cached_tokens_of_both() -> None:
    both = Usage(9, 5, 2, 4, 1) + Usage(10, 6, 3, 8)
    assert both == Usage(19, 11, 5, 12, 1)
    shown = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "audio": 0}}
    assert with_added(shown, Usage(10, 6, 3, 8)) == {
        "prompt_tokens": 19,
        "prompt_tokens_details": {"cached_tokens": 12, "audio": 0},
    }


def record() -> RequestRecord:
    final = Decision("high", "router", None, "none", "why", None, None, "high")
    record = RequestRecord("r", decision=final._replace(effort="low", final=final), model="m")
    record.closed_at = record.opened_at + 1
    return record


def test_a_discarded_attempt_is_paid_also_where_the_final_one_fails() -> None:
    failed = record()
    failed.record_usage(Usage(9, 30, 20, 4, 1))
    failed.begin_final_attempt()
    failed.status = 502
    row = row_of(failed)
    assert row is not None
    names = ("prompt_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens")
    assert [row[name] for name in names] == [9, 4, 1, 20]
    silent = record()
    silent.record_usage(Usage(9, 30, 20))
    silent.begin_final_attempt()
    silent.record_usage(None)
    assert silent.usage == Usage(9, 30, 20)


def test_a_completion_that_the_engine_does_not_split_is_paid() -> None:
    unsplit = record()
    unsplit.record_usage(Usage(9, 30, None))
    row = row_of(unsplit)
    assert row is not None
    assert (row["thinking_tokens"], row["answer_tokens"], row["unsplit_tokens"]) == (None, None, 30)
