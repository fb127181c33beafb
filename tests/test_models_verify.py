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
        ("61kg", "61"),
        ("61.5kg", "61.5"),
        ("12,61", "61"),
        ("_61_", "61"),
        ("\u7b54\u6848\u662f61\u3002", "61"),
        ("12-5", "5"),
        ("0.5", ".5"),
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
        ("61.5kg", "61"),
        ("1,2345", "1"),
        ("anything", "B"),
    ],
)
def test_wrong(answer: str, gold: str) -> None:
    assert not is_correct(answer, gold)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The answer is 61", False),
        ("The answer is 61.", True),
        ("The answer is 61. To chec", True),
        ("61 is the answer, since 12 + 4", False),
        ("", False),
    ],
)
def test_a_truncated_answer_must_have_given_its_number(answer: str, right: bool) -> None:
    assert is_correct(answer, "61", truncated=True) == right
