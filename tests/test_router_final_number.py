from decimal import Decimal

import pytest

from router.final_number import final_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It is 41, no: 42.", "42"),
        ("1/2", "0.5"),
        ("-3 / 4", "-0.75"),
        ("-$5", "-5"),
        ("\u22125", "-5"),
        ("1,234", "1234"),
        ("1,234,567.25 in all", "1234567.25"),
        (".5", "0.5"),
        ("61.5kg", "61.5"),
        ("12-5", "5"),
        ("9 cm^2", "9"),
        ("3/0", "0"),
    ],
)
def test_the_final_number_is_read_by_value(text: str, value: str) -> None:
    assert final_number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "none", "v61", "x^2"])
def test_a_text_without_a_number_has_none(text: str) -> None:
    assert final_number(text) is None


def test_a_group_of_four_digits_is_no_thousands_separator() -> None:
    assert final_number("1,2345") == Decimal(2345)
