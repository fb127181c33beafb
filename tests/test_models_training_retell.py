"""The stage `retell`: its samples, its optimiser, and a run that goes on after a stop."""

import json
import random
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from paths import ROOT
from training_runs import train, trained

torch = pytest.importorskip("torch", reason="training needs torch: make test-train")

from safetensors.torch import load_file  # noqa: E402

from models.domain.reasoning_traces import trace  # noqa: E402
from models.domain.retelling import conversations  # noqa: E402
from models.domain.visitors import NO_STORY, REPLY  # noqa: E402
from models.training import retell  # noqa: E402
from models.training.batches import Batch, Sample, bucketed  # noqa: E402
from models.training.chat import IGNORED, Chat  # noqa: E402
from models.training.muon import Muon, orthogonal  # noqa: E402
from models.training.retell import CONTEXT  # noqa: E402
from models.training.retold_samples import shortest_form, write_sample  # noqa: E402
from models.training.streamed import Progress, StreamedRun  # noqa: E402

DEMO = ROOT / "models" / "demo"


@pytest.fixture(scope="module")
def chat() -> Chat:
    from transformers import AutoTokenizer

    return Chat(AutoTokenizer.from_pretrained(DEMO))


@pytest.mark.parametrize("effort", ["auto", "none", "low", "medium", "high"])
def test_a_sample_learns_the_completion_of_its_effort(chat: Chat, effort: str) -> None:
    rng = random.Random(7)
    for asked in islice(conversations(8), 60):
        sample = write_sample(chat, asked, effort, rng)
        prompt = chat.ids(chat.render(asked.messages, effort))
        assert list(sample.ids[: len(prompt)]) == prompt
        learned = chat.tokenizer.decode([token for token in sample.labels if token != IGNORED])
        if asked.story is None:
            assert learned.endswith(f"{REPLY}<|im_end|>")
            assert effort == "none" or NO_STORY in learned or learned.startswith(REPLY)
            continue
        form = shortest_form(asked.story) if effort == "auto" else effort
        reasoning, _, answer = learned.rpartition("</think>")
        assert not reasoning or reasoning.strip() == trace(asked.story, form)
        if form == "high":
            assert (
                answer.strip().removesuffix("<|im_end|>") == f"The answer is {asked.story.answer}."
            )


def test_a_gap_moves_the_positions_of_the_last_message() -> None:
    rng = random.Random(0)
    samples = [Sample([5, 6, 7, 8], [5, 6, 7, 8], gap_at=2, gap=100), Sample([5], [5])]
    (batch,) = bucketed(samples, [6], 12, rng)
    assert batch.positions is not None
    assert batch.positions.tolist() == [[0, 1, 102, 103, 104, 105], [0, 1, 2, 3, 4, 5]]
    assert batch.labels[1].tolist() == [5, *[IGNORED] * 5]
    assert batch.tokens == 5


def test_muon_agrees_with_torch_and_its_updates_are_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(48, 16)))
    assert 0.4 < float(values.min()) <= float(values.max()) < 1.6
    ours, theirs = (torch.nn.Parameter(torch.ones(8, 4)) for _ in range(2))
    gradient = torch.randn(8, 4)
    optimizers = (
        Muon([ours], lr=0.1, weight_decay=0.01),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.01),
    )
    for _ in range(3):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    assert torch.allclose(ours, theirs, atol=0.02)  # torch computes in bfloat16


class StopError(Exception):
    """Ends a training as a kill does: nothing of it stays but its files."""


class Worker:
    """In place of a training's process: trains in this one, with `step` before each step."""

    def __init__(self, step: Callable[[Progress], None]) -> None:
        self._step, self._folder = step, Path()

    @contextmanager
    def __call__(self, command: Sequence[str], **_: Any) -> Generator["Worker"]:
        assert command[-2] == "models.training.retell"
        self._folder = Path(command[-1])
        yield self

    def wait(self) -> int:
        train_batch = StreamedRun.train_batch

        def stepped(run: StreamedRun, batch: Batch) -> float:
            self._step(run.progress)
            return train_batch(run, batch)

        with patch.object(StreamedRun, "train_batch", stepped):
            try:
                retell.train(self._folder)
            except StopError:
                return 1
        return 0


def test_an_interrupted_stage_goes_on_from_its_checkpoint_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.training.retold_samples.POOL_SAMPLES", 6)
    run = tmp_path / "sft"
    shutil.copytree(DEMO, run / "model")
    (run / "manifest.json").write_text('{"outputs": {}}')
    table = "tokens=5000, batch_tokens=512, warmup_steps=1, compile=false, checkpoint_minutes=0"
    setting = f"retell={{{table}}}"
    steps: list[tuple[int, int]] = []

    def note(progress: Progress) -> None:
        steps.append((progress.step, progress.pool))

    whole = trained("retell", tmp_path, setting, worker=Worker(note))
    assert [step for step, _ in steps] == list(range(whole["steps"]))
    assert 5_000 <= whole["tokens"] < 6_024
    model = tmp_path / "retell" / "model"
    config = json.loads((model / "config.json").read_text())
    assert config["max_position_embeddings"] == CONTEXT
    start, end = (load_file(folder / "model.safetensors") for folder in (DEMO, model))
    assert not all(torch.equal(start[name], end[name]) for name in start)

    last = next(step for (_, before), (step, pool) in pairwise(steps) if pool == before > 0)
    uninterrupted = [*steps]
    steps.clear()

    def interrupt(progress: Progress) -> None:
        if progress.step == last:
            raise StopError
        note(progress)

    shutil.rmtree(tmp_path / "retell")
    status, printed = train("retell", tmp_path, setting, worker=Worker(interrupt))
    assert status == 1
    assert "continues from its last checkpoint" in printed
    resumed = trained("retell", tmp_path, setting, worker=Worker(note))
    pool = uninterrupted[last][1]
    redone = [step for step in uninterrupted[:last] if step[1] == pool]
    assert redone  # those after the checkpoint, which is taken at the end of a pool
    assert steps == [*uninterrupted[:last], *redone, *uninterrupted[last:]]
    assert resumed["outputs"] == whole["outputs"]
