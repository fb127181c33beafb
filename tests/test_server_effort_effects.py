"""What is said of efforts from their replies: works, alias, inverted, not enough evidence."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from router.effort import Effort
from server.engines.effort_effects import EffortEffects, effects, prompts_needed
from server.engines.effort_trial import Trial, Trials

LADDER: tuple[Effort, ...] = ("none", "low", "medium", "high")
Lengths = Callable[[Effort, int], int]


def trials(
    efforts: Sequence[Effort],
    lengths: Lengths,
    prompts: int = 8,
    limit: int = 10_000,
    equal: Callable[[Effort], str] = str,
) -> Trials:
    """Replies of a model that thinks so many tokens; equal texts where `equal` says the same."""

    def trial(effort: Effort, prompt: int) -> Trial:
        thinking = lengths(effort, prompt)
        cut = thinking > limit
        digest = f"{equal(effort)} {prompt}"
        return Trial(min(thinking, limit), min(thinking, limit) + 5, cut, not cut, digest)

    return {
        effort: {str(prompt): trial(effort, prompt) for prompt in range(prompts)}
        for effort in efforts
    }


def by_table(**tokens: int) -> Lengths:
    """Lengths that grow with the prompt, and differ by effort as the table says."""
    return lambda effort, prompt: tokens[effort] * (4 + prompt) // 4


def verdicts(measured: EffortEffects) -> dict[str, str]:
    return {level.effort: level.verdict for level in measured.levels}


def stand_ins(measured: EffortEffects) -> dict[str, str | None]:
    return {effort: level.stand_in for effort, level in measured.withheld.items()}


WORKING = by_table(none=0, low=20, medium=80, high=300)


def test_efforts_that_work_are_all_offered() -> None:
    measured = effects(trials(LADDER, WORKING))
    assert verdicts(measured) == dict.fromkeys(LADDER, "works")
    assert not measured.withheld
    high = measured.levels[-1]
    assert (high.tokens, high.interval) == (562.5, (300, 825))
    assert high.ratio is not None
    assert 3 < high.ratio.lower <= high.ratio.estimate <= high.ratio.upper < 4


def test_of_efforts_with_equal_replies_the_cheapest_is_offered() -> None:
    lengths = by_table(none=0, low=20, medium=80, high=80)
    measured = effects(trials(LADDER, lengths, equal=lambda e: "medium" if e == "high" else e))
    assert stand_ins(measured) == {"high": "medium"}
    assert measured.levels[-1].detail == "high does the same as medium"
    assert measured.levels[-1].verdict == "alias"


@pytest.mark.parametrize(("changed", "verdict"), [(2, "alias"), (3, "not enough evidence")])
def test_a_few_replies_may_change_by_themselves(changed: int, verdict: str) -> None:
    """As greedy replies of llama.cpp do once their prompt is cached."""
    replies = trials(("low", "high"), lambda _, prompt: 50 + prompt, equal=lambda _: "same")
    other = {
        prompt: replace(reply, digest="other", thinking=9 if prompt == "0" else 400)
        for prompt, reply in list(replies["high"].items())[:changed]
    }
    measured = effects({"low": replies["low"], "high": {**replies["high"], **other}})
    assert verdicts(measured)["high"] == verdict


def test_equal_lengths_alone_show_an_alias_only_on_many_prompts() -> None:
    drawn = random.Random(3)

    def lengths(effort: Effort, prompt: int) -> int:
        return round(100 * drawn.lognormvariate(0, 0.4)) if effort != "none" else 0

    few = effects(trials(("none", "low", "high"), lengths))
    assert verdicts(few)["high"] == "not enough evidence"
    assert not few.withheld
    many = effects(trials(("none", "low", "high"), lengths, prompts=400))
    assert stand_ins(many) == {"high": "low"}


def test_a_knob_without_any_effect_leaves_the_lowest_effort_that_thinks() -> None:
    """`none` does not switch thinking off there, and must not pass for no thinking."""
    measured = effects(trials(LADDER, lambda _, prompt: 50 + prompt, equal=lambda _: "same"))
    assert stand_ins(measured) == {"none": "low", "medium": "low", "high": "low"}
    assert measured.levels[0].detail == "none does not switch thinking off: it does the same as low"


def test_a_model_that_never_thinks_is_left_with_none() -> None:
    measured = effects(trials(LADDER, lambda *_: 0, equal=lambda _: "same"))
    assert stand_ins(measured) == {"low": "none", "medium": "none", "high": "none"}
    assert measured.counts_all


def test_an_effort_that_thinks_less_than_a_lower_one_is_inverted() -> None:
    measured = effects(trials(LADDER, by_table(none=0, low=20, medium=300, high=60)))
    assert stand_ins(measured) == {"high": "medium"}
    assert measured.levels[-1].detail == "high thinks less than medium"


def test_none_that_thinks_most_is_the_one_that_goes() -> None:
    measured = effects(trials(LADDER, by_table(none=500, low=20, medium=80, high=300)))
    assert stand_ins(measured) == {"none": "low"}
    assert measured.levels[0].detail == "none thinks more than low"
    assert verdicts(measured)["low"] == "works"


def test_thoughts_that_are_all_cut_show_nothing() -> None:
    lengths = by_table(none=0, low=2_000, medium=4_000, high=9_000)
    measured = effects(trials(LADDER, lengths, limit=1_000))
    assert verdicts(measured) == {
        "none": "works",
        "low": "works",
        "medium": "not enough evidence",
        "high": "not enough evidence",
    }
    assert [level.cut for level in measured.levels] == [0, 8, 8, 8]


@pytest.mark.parametrize(("cut", "verdict"), [(4, "alias"), (20, "not enough evidence")])
def test_a_few_equal_lengths_do_not_speak_for_many_thoughts_that_were_cut(
    cut: int, verdict: str
) -> None:
    def lengths(effort: Effort, prompt: int) -> int:
        return 2_000 if prompt < cut else 100 + (prompt + len(effort)) % 3

    replies = trials(("low", "high"), lengths, prompts=cut + 20, limit=1_000)
    assert verdicts(effects(replies))["high"] == verdict


def test_thoughts_of_one_effort_that_are_cut_still_show_which_is_longer() -> None:
    measured = effects(trials(LADDER, by_table(none=0, low=20, medium=80, high=9_000), limit=1_000))
    assert verdicts(measured)["high"] == "works"
    high = measured.levels[-1].as_json()
    assert high["ratio_interval"][0] > 1
    assert high["ratio_interval"][1] is None


def test_a_cut_reply_is_no_evidence_for_less_thinking() -> None:
    lengths = by_table(none=0, low=900, medium=5_000, high=9_000)
    measured = effects(trials(LADDER, lengths, limit=1_000))
    assert not measured.withheld


def test_thoughts_that_are_not_told_apart_are_compared_by_all_tokens() -> None:
    told = trials(LADDER, WORKING)
    untold = {
        effort: {
            prompt: Trial(
                None if reply.thinking else 0, reply.completion, False, True, reply.digest
            )
            for prompt, reply in replies.items()
        }
        for effort, replies in told.items()
    }
    measured = effects(untold)
    assert measured.counts_all
    assert verdicts(measured) == dict.fromkeys(LADDER, "works")


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 7])
def test_the_canary_s_prompts_suffice_for_a_clear_order(number: int) -> None:
    ladder: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

    def lengths(effort: Effort, prompt: int) -> int:
        return (prompt + 9) * 4 ** ladder.index(effort)

    replies = trials(ladder[:number], lengths, prompts_needed(number) - 1, limit=10**6)
    measured = effects(replies)
    assert verdicts(measured) == dict.fromkeys(ladder[:number], "works")


def test_efforts_are_withheld_wrongly_in_one_of_twenty_engines_at_most() -> None:
    """A model that thinks alike at all efforts, sampled, with lengths of heavy tails.

    That it seems to think more at a higher effort would be as wrong, and counts too.
    """
    drawn, draws, wrong = random.Random(7), 300, 0
    for _ in range(draws):
        scale = [drawn.paretovariate(1.2) for _ in range(8)]
        measured = effects(
            trials(
                ("low", "medium", "high"),
                lambda _, prompt, scale=scale: round(90 * scale[prompt] * drawn.paretovariate(1.5)),
            )
        )
        wrong += bool(measured.withheld) or verdicts(measured)["high"] == "works"
    assert wrong / draws < 0.08
