import pytest

from router.effort import EFFORTS, Effort, is_effort, nearest, rank


@pytest.mark.parametrize(
    ("effort", "ladder", "expected"),
    [
        ("medium", ("low", "medium", "high"), "medium"),
        ("medium", ("low", "high"), "high"),  # a tie goes upward
        ("minimal", ("none", "low"), "low"),  # a thinking level never stops thinking
        ("minimal", ("none",), "none"),
        ("max", ("none", "low", "high"), "high"),
        ("xhigh", ("high", "max"), "max"),
        ("none", ("minimal", "high"), "minimal"),
        ("none", ("high", "none"), "none"),
        ("low", ("high",), "high"),
    ],
)
def test_nearest(effort: Effort, ladder: tuple[Effort, ...], expected: str) -> None:
    assert nearest(effort, ladder) == expected


def test_nearest_needs_a_ladder() -> None:
    with pytest.raises(ValueError, match="at least one effort"):
        nearest("low", ())


def test_every_level_has_its_rank() -> None:
    assert [rank(effort) for effort in EFFORTS] == list(range(7))
    assert is_effort("none")
    assert not is_effort("auto")
