"""Finish and stop reasons of engines, in the spellings that they have."""

import pytest

from router.finish_reason import FinishMeaning, finish_meaning

SPELLINGS: dict[FinishMeaning, tuple[str, ...]] = {
    "end": (
        *("stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence"),
        *("COMPLETE", "FINISH", "REASON_STOP", "FINISH_REASON_STOP", "FinishReason.STOP", "Stop "),
    ),
    "cut": (
        *("length", "LENGTH", "max_tokens", "MAX_TOKENS", "max-tokens", "model_length", "limit"),
        *("max_output_tokens", "model_context_window_exceeded", "REASON_MAX_LEN", "max new tokens"),
        "FinishReason.MAX_TOKENS",
    ),
    "call": ("tool_calls", "tool-calls", "tool_use", "function_call", "REASON_TOOL_CALLS"),
    "filter": ("content_filter", "content-filter", "SAFETY", "RECITATION", "refusal", "sensitive"),
    "error": (
        *("error", "INTERNAL_ERROR", "abort", "cancelled", "failed", "timeout", "time_out"),
        *(
            "error: " + "out of memory " * 99,
            "engine_overloaded",
            "ERROR_LIMIT",
            "network_error",
            "insufficient_system_resource",
        ),
    ),
}


@pytest.mark.parametrize("meaning", SPELLINGS)
def test_a_meaning_has_many_spellings(meaning: FinishMeaning) -> None:
    words = SPELLINGS[meaning]
    assert {word: finish_meaning(word) for word in words} == dict.fromkeys(words, meaning)


@pytest.mark.parametrize(
    "reason", [None, "", " ", "null", "other", 1, True, [], ["stop"], {}, "stop" * 99, "pause_turn"]
)
def test_what_no_engine_says_of_an_end_means_nothing(reason: object) -> None:
    assert finish_meaning(reason) is None
