"""What a training says while it runs."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra [train]")

from models.training import training_progress
from models.training.training_progress import ProgressLines


def test_lines_have_the_loss_the_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: clock.now)

    def said(first_step: int, logs: list[tuple[int, float, int]]) -> list[str]:
        """The lines of a training that logs (step, seconds, tokens), of 100 steps in all."""
        clock.now = 0.0
        lines = ProgressLines()
        state = SimpleNamespace(global_step=first_step, max_steps=100, is_world_process_zero=True)
        control: Any = SimpleNamespace(should_log=False)
        lines.on_train_begin(None, state, control)
        for state.global_step, clock.now, tokens in logs:
            lines.on_step_end(None, state, control)
            assert control.should_log == (state.global_step == 100)
            lines.on_log(None, state, control, {"loss": 0.5, "num_tokens": tokens})
        return capsys.readouterr().err.splitlines()

    assert said(0, [(10, 30, 3_000), (20, 40, 4_000), (30, 60, 9_000), (100, 61, 9_060)]) == [
        "step 10 of 100, loss 0.5000, 100 tokens/s, 4 min left",
        "step 30 of 100, loss 0.5000, 200 tokens/s, 2 min left",
        "step 100 of 100, loss 0.5000, 60 tokens/s",
    ]
    assert said(50, [(60, 30, 8_000), (70, 60, 11_000)]) == [
        "step 60 of 100, loss 0.5000, 2 min left",
        "step 70 of 100, loss 0.5000, 100 tokens/s, 90 s left",
    ]
