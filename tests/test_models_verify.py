"""Judging answers: right ones in any dress, and wrong ones that look right."""

import pytest

from models.verify import is_correct


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("The answer is 61.", "61"),
        ("61", "61"),
        ("First 12, then 61", "61"),
        ("It is 1,234.", "1234"),
        ("It is -5", "-5"),
        ("It is \u22125", "-5"),
        ("about 2.50", "2.5"),
        ("**61**", "61"),
        ("$61", "61"),
    ],
)
def test_right(answer: str, gold: str) -> None:
    assert is_correct(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("", "61"),
        ("The answer is", "61"),
        ("The answer is 6", "61"),
        ("61 apples minus 4 is 57", "61"),
        ("The answer is 161.", "61"),
        ("The answer is 61.5", "61"),
        ("The answer is -61", "61"),
        ("v61", "61"),
    ],
)
def test_wrong(answer: str, gold: str) -> None:
    assert not is_correct(answer, gold)
