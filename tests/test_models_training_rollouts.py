"""Rollouts of GRPO: what is drawn, drawn anew, cut, forced and logged. The sampler is scripted."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.outcomes.verify import Judge
from models.training.completions import Completion, Reader
from models.training.grpo_steps import StepLog, read_steps, summary
from models.training.recipe_grpo import Grpo
from models.training.rewards import shorter
from models.training.rollouts import Draws, Group, Rollouts, Task

END, CLOSE = 1, 2


class Letters:
    """A tokenizer of single characters; the end token and `</think>` are tokens of their own."""

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        words = text.replace("</think>", "\x02")
        return {"input_ids": [ord(letter) for letter in words]}

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return "".join(map(chr, ids)).replace("\x02", "</think>").replace("\x01", "<end>")


def ids(text: str) -> list[int]:
    return Letters()(text)["input_ids"]


TASKS = [
    Task(f"{effort}-{answer}", effort, f"{answer}:<think>", str(answer), ids(f"{answer}:<think>"))
    for effort in ("auto", "low")
    for answer in range(3, 9)
]
Script = Callable[[str, int], str]


class Scripted:
    """Continues a prompt as the script says; \\x01 ends the answer."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.prompts: list[str] = []

    def sample(
        self, prompts: Sequence[list[int]], limits: Sequence[int], forbidden: int | None = None
    ) -> list[Completion]:
        texts = ["".join(map(chr, prompt)) for prompt in prompts]
        self.prompts += texts
        rows = [ids(self._script(text, index)) for index, text in enumerate(texts)]
        assert forbidden is None or all(row[0] == ord("+") for row in rows)
        return [Completion(row[:limit]) for row, limit in zip(rows, limits, strict=True)]


def made(script: Script, **settings: Any) -> tuple[Rollouts, Scripted]:
    table = {"batch": 8, "samples": 4, "efforts": {"auto": {"limit": 20, "length_weight": 0.5}}}
    grpo, sampler = Grpo.model_validate({**table, **settings}), Scripted(script)
    reader = Reader(Letters(), frozenset({END}))
    draws = Draws(TASKS, grpo, seed=1)
    return Rollouts(grpo, draws, sampler, reader, Judge(by="number"), shorter), sampler


def answered(text: str, thoughts: str = "so") -> str:
    return f"{thoughts}\x02{text}\x01"


def test_groups_without_a_difference_are_drawn_anew() -> None:
    # 3 and 4 are always right, 5 never; the others are right in every second rollout
    def script(prompt: str, index: int) -> str:
        number = int(prompt[0])
        right = number < 5 or (number > 5 and index % 2 == 0)
        return answered(str(number if right else 0))

    rollouts, sampler = made(script, redraws=30)
    groups, replaced = rollouts.groups(step=0, count=4)
    assert [group.is_flat for group in groups] == [False] * 4
    assert {group.task.answer for group in groups} <= {"6", "7", "8"}
    assert replaced == len(sampler.prompts) // 4 - 4 > 0
    assert groups[0].rewards == [1.0, 0.0, 1.0, 0.0]

    kept, none_replaced = made(script, redraws=0)[0].groups(step=0, count=4)
    assert any(group.is_flat for group in kept)
    assert none_replaced == 0


def test_the_batch_is_filled_where_nothing_differs() -> None:
    groups, replaced = made(lambda _, __: answered("0"), redraws=2)[0].groups(step=0, count=2)
    assert (len(groups), replaced) == (2, 4)
    assert all(group.is_flat for group in groups)


def test_draws_follow_the_shares_and_repeat_with_their_step() -> None:
    efforts = {"auto": {"limit": 9, "share": 3}, "low": {"limit": 9}}
    grpo = Grpo.model_validate({"batch": 8, "samples": 4, "efforts": efforts})
    tasks = Draws(TASKS, grpo, seed=1).draw(step=5, attempt=0, count=400)
    assert 270 <= sum(task.effort == "auto" for task in tasks) <= 330
    assert Draws(TASKS, grpo, seed=1).draw(5, 0, 400) == tasks
    for other in (Draws(TASKS, grpo, 1).draw(6, 0, 400), Draws(TASKS, grpo, 1, 1).draw(5, 0, 400)):
        assert other != tasks


def test_a_rollout_past_its_effort_s_limit_is_cut_and_wrong() -> None:
    efforts = {"auto": {"limit": 12}, "low": {"limit": 5}}

    def script(prompt: str, _: int) -> str:
        return answered(prompt[0], "a long thought"[: 2 + 8 * (len(prompt) % 2)])

    groups, _ = made(script, efforts=efforts, redraws=0, batch=80)[0].groups(0, 20)
    for group in groups:
        for rollout in group.rollouts:
            assert rollout.tokens == 5 if rollout.effort == "low" else rollout.tokens <= 12
            assert rollout.truncated == (not rollout.correct)
            assert rollout.thinking_tokens <= rollout.tokens


def test_a_wrong_answer_thinks_on_where_the_recipe_explores() -> None:
    def script(prompt: str, _: int) -> str:
        thoughts = prompt.partition("<think>")[2]
        return answered(prompt[0], "+more") if thoughts else answered("0")

    rollouts, sampler = made(script, explore=0.5, redraws=0)
    (group, _), _ = rollouts.groups(0, 2)
    assert [rollout.correct for rollout in group.rollouts] == [False, False, True, True]
    assert [completion.forced for completion in group.completions] == [None, None, 2, 2]
    assert sampler.prompts[-1].endswith("<think>so")
    assert group.rollouts[3].tokens == len(ids(answered("3", "so+more")))
    own, paid = group.trained_tokens()[0], group.trained_tokens()[3]
    assert set(own) == {1}
    assert (paid[:2], set(paid[2:])) == ([0, 0], {1})  # what is forced pays off, not what was wrong
    flipped = Group(group.task, group.completions, group.rollouts, [1.0, 1.0, 0.0, 0.0])
    assert [mask.count(0) for mask in flipped.trained_tokens()] == [0, 0, 1, 1]
    assert flipped.trained_tokens()[2].index(0) == 2


def test_auto_learns_from_another_effort_s_rollout_where_that_earns_more() -> None:
    efforts = {"auto": {"limit": 40, "length_weight": 0.5}, "low": {"limit": 40, "share": 1e-9}}
    tasks = [
        Task(f"{number}", effort, text, str(number), ids(text))
        for number in range(3, 6)
        for effort, text in (("auto", f"{number}:<think>"), ("low", f"{number}:low<think>"))
    ]
    grpo = Grpo.model_validate(
        {"batch": 4, "samples": 4, "efforts": efforts, "borrow": ["low"], "redraws": 0}
    )

    def script(prompt: str, _: int) -> str:
        return answered(prompt[0], "so" if "low" in prompt else "a longer thought")

    reader, sampler = Reader(Letters(), frozenset({END})), Scripted(script)
    draws = Draws(tasks, grpo, seed=1)
    (group,), _ = Rollouts(grpo, draws, sampler, reader, Judge(by="number"), shorter).groups(0, 1)
    assert ["low" in prompt for prompt in sampler.prompts] == [True, False, False, False]
    assert [completion.borrowed for completion in group.completions] == ["low", None, None, None]
    assert group.task.effort == "auto"  # its prompt is what is trained
    assert group.rewards[0] == 1.0 > group.rewards[1]
    assert all(0 not in mask for mask in group.trained_tokens())
    worse = Group(group.task, group.completions, group.rollouts, [0.0, 1.0, 1.0, 0.0])
    assert [set(mask) for mask in worse.trained_tokens()] == [{0}, {1}, {1}, {1}]
    assert worse.counted == [None, 1.0, 1.0, 0.0]
    assert not worse.is_flat
    alike = Group(group.task, group.completions, group.rollouts, [0.0, 1.0, 1.0, 1.0])
    assert alike.is_flat  # the model's own are alike


PIECES = ["</", "think", ">", " </", ">\n\n", "so", ".</", "42", "\n"]


class Pieces:
    """A tokenizer to which the end of a reasoning block is several tokens, as it is to Llama's."""

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        assert text == "</think>"
        return {"input_ids": [0, 1, 2]}

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return "".join(PIECES[token] for token in ids)


@pytest.mark.parametrize(
    ("pieces", "thinking"),
    [
        (["so", "\n", "</", "think", ">", "42"], 2),
        (["so", "\n", "</", "think", ">\n\n", "42"], 2),  # what training writes
        (["so", "so", " </", "think", ">", "42"], 2),
        (["so", ".</", "think", ">\n\n", "42"], 1),
        (["</", "think", ">\n\n", "42"], 0),
        (["so", "42"], 0),
    ],
)
def test_thoughts_are_counted_where_their_end_shares_tokens_with_the_text(
    pieces: list[str], thinking: int
) -> None:
    completion = Completion([PIECES.index(piece) for piece in pieces])
    assert Reader(Pieces(), frozenset()).thinking_tokens(completion) == thinking


def test_right_answers_are_never_made_to_think_on() -> None:
    rollouts, sampler = made(lambda prompt, _: answered(prompt[0]), explore=1, redraws=0)
    rollouts.groups(0, 2)
    assert len(sampler.prompts) == 8


def test_a_resumed_log_has_each_step_once(tmp_path: Path) -> None:
    groups, _ = made(lambda prompt, _: answered(prompt[0]), redraws=0)[0].groups(0, 2)
    file = tmp_path / "steps.jsonl"
    log = StepLog(file, 4)
    for step in range(3):
        log.add(step, groups, replaced=step, seconds=1.0)
    with file.open("a") as stream:
        stream.write('{"step": 3, "rew')  # killed here
    resumed = StepLog(file, 4)
    for step in (2, 3):
        resumed.add(step, groups, replaced=0, seconds=1.0)
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [0, 1, 2, 3]
    assert [row["replaced"] for row in read_steps(file)] == [0, 1, 0, 0]
    assert summary(file)["right_last"] == 1.0
    assert read_steps(file)[0]["efforts"]["auto"]["tokens"] == len(ids(answered("3")))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (lambda prompt, _: answered(prompt[0]), "all are right, so give harder problems"),
        (lambda *_: answered("2"), "none is right, so give easier problems"),
        (lambda *_: "x" * 30, "all are cut off, so raise the limits in grpo.efforts"),
    ],
)
def test_steps_that_teach_nothing_are_said_once_with_the_reason(
    script: Script, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed, _ = made(lambda prompt, n: answered(prompt[0] if n % 2 else "2"))[0].groups(0, 2)
    flat, _ = made(script, redraws=0)[0].groups(0, 2)
    log = StepLog(tmp_path / "steps.jsonl", 40)
    for step in range(30):
        log.add(step, mixed if step == 5 else flat, replaced=0, seconds=1.0)
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("grpo: warning: 10 steps taught nothing")
    assert f": {why}" in warning
