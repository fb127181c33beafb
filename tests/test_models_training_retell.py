"""The stage `retell`: its samples, its optimiser, and a short run that goes on after a stop."""

import json
import random
from itertools import islice
from pathlib import Path

import pytest
from processes import ROOT

torch = pytest.importorskip("torch", reason="training needs torch: make test-train")

from models.domain.reasoning_traces import trace  # noqa: E402
from models.domain.retelling import conversations  # noqa: E402
from models.domain.visitors import NO_STORY, REPLY  # noqa: E402
from models.training.batches import Sample, bucketed  # noqa: E402
from models.training.chat import IGNORED, Chat  # noqa: E402
from models.training.muon import Muon, orthogonal  # noqa: E402
from models.training.retell import CONTEXT, train  # noqa: E402
from models.training.retold_samples import shortest_form, write_sample  # noqa: E402

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


def test_a_short_run_widens_the_context_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def trained(tokens: int) -> dict[str, int]:
        short = {"batch_tokens": 2048, "warmup_steps": 1, "compile": False, "checkpoint_minutes": 0}
        run = {"start": str(DEMO), "retell": {"tokens": tokens, **short}}
        (tmp_path / "retell.json").write_text(json.dumps(run))
        train(tmp_path)
        return json.loads((tmp_path / "training.json").read_text())

    first = trained(5_000)
    assert 5_000 <= first["tokens"] < 8_000
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["max_position_embeddings"] == CONTEXT
    second = trained(first["tokens"] + 1)
    assert second["steps"] == first["steps"] + 1
