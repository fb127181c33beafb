"""The demo domain: deterministic, exact, split by content; and every line of its reasoning true."""

import random
import re
import subprocess
import sys
from itertools import islice

import pytest
from paths import ROOT

from models.domain.problems import unique_stories
from models.domain.reasoning_traces import REACH, answer_text, trace
from models.domain.stories import MAX_TOTAL, split_of, stories, write_story
from tops import main


def test_a_seed_gives_the_same_stories_and_another_seed_others() -> None:
    stream = list(islice(stories(5), 20))
    assert stream == list(islice(stories(5), 20))
    assert stream != list(islice(stories(6), 20))


def test_splits_are_disjoint_by_content() -> None:
    numbers = {
        split: {
            (story.steps[0].before, tuple((s.symbol, s.operand) for s in story.steps))
            for story in islice(stories(1, split, 1, 2), 400)
        }
        for split in ("train", "validation", "test")
    }
    assert not numbers["train"] & numbers["test"]
    assert not numbers["train"] & numbers["validation"]
    assert not numbers["validation"] & numbers["test"]
    story = next(stories(3, "test"))
    assert split_of(story.steps[0].before, story.steps) == "test"


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_the_answer_follows_from_the_numbers_in_the_story(steps: int) -> None:
    for seed in range(50):
        story = write_story(random.Random(seed), steps)
        assert story.difficulty == len(story.steps) == steps
        total = story.steps[0].before
        assert f" {total} " in story.prompt
        for step in story.steps:
            assert step.before == total
            total = {
                "+": total + step.operand,
                "-": total - step.operand,
                "*": total * step.operand,
            }[step.symbol]
            assert step.total == total
            assert 0 < total <= MAX_TOTAL
            if step.symbol != "*":
                assert f"{step.operand} " in story.prompt
        assert story.answer == str(total)


def test_every_equation_that_is_written_holds() -> None:
    for story in islice(stories(2), 200):
        for effort in ("medium", "high"):
            text = trace(story, effort)
            equations = re.findall(r"([\d+*/-]+)=(\d+)", text)
            assert len(equations) >= len(story.steps[: REACH.get(effort)])
            for left, right in equations:
                assert eval(left) == int(right), (left, right, text)
            assert [int(t) for t in re.findall(r"so (\d+)\.", text)] == (
                [step.total for step in story.steps] if effort == "high" else []
            )


def test_efforts_think_longer_as_they_rise_and_reach_further() -> None:
    for story in islice(stories(4), 50):
        totals = [str(step.total) for step in story.steps]
        lengths = [len(trace(story, effort)) for effort in ("none", "low", "medium", "high")]
        assert lengths == sorted(set(lengths))
        assert trace(story, "low").split() == totals[: REACH["low"]]
        assert trace(story, "medium").count("\n") == min(len(totals), REACH["medium"])
        assert trace(story, "medium").rpartition("=")[2] in totals
        assert trace(story, "high").count("Check ") == len(totals)
        assert answer_text(story) == f"The answer is {story.answer}."
        assert answer_text(story, "low") == f"The answer is {totals[: REACH['low']][-1]}."


def test_problems_do_not_repeat() -> None:
    problems = list(islice(unique_stories(0, "test", 1, 1), 300))
    assert len({story.problem_id for story in problems}) == 300


def test_a_reader_that_stops_early_is_no_error() -> None:
    words = f"{sys.executable} -m tops problems --n 20000 | head -1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr, result.stdout.count("\n")) == (0, "", 1)


def test_a_negative_count_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["problems", "--n", "-1"]) == 2
    assert "x>=0" in capsys.readouterr().err
