import time
from math import log1p

import numpy as np
import pytest

from router.feature_descriptions import FEATURE_DESCRIPTIONS
from router.features import FEATURE_NAMES, HALF_WINDOW, features
from router.keywords import CHINESE, GROUPS


def named_features(text: str) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, features(text).tolist(), strict=True))


def test_each_feature_has_words_of_its_own_without_the_names_that_code_has() -> None:
    assert [*FEATURE_DESCRIPTIONS] == [*FEATURE_NAMES]
    assert len({*FEATURE_DESCRIPTIONS.values()}) == len(FEATURE_NAMES)
    assert not [words for words in FEATURE_DESCRIPTIONS.values() if "_" in words]


def test_names_are_unique_and_match_the_vector() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == len(features("x"))
    assert set(CHINESE) <= set(GROUPS)


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("Tom has 3 apples. He buys 12 more. How many now?", "numbers", 2),
        ("Tom has 3 apples. He buys 12 more. How many now?", "sentences", 3),
        ("Tom has 3 apples. He buys 12 more. How many now?", "questions", 1),
        ("It costs 1,200.50 dollars.", "numbers", 1),
        ("It costs 1,200.50 dollars.", "decimals", 1),
        ("He buys and sells", "words_gain", 1),
        ("He buys and sells", "words_lose", 1),
        (r"Find $\frac{1}{2} + \sqrt{x}$", "backslashes", 2),
        (r"Find $\frac{1}{2} + \sqrt{x}$", "dollars", 2),
        ("```python\nprint(1)\n```", "code_fences", 2),
        ("Which?\nA. one\nB. two\nC. three", "choices", 3),
        ("(A) one (B) two", "choices", 2),
        ("证明三角形的面积。", "han", 9),
        ("证明三角形的面积。", "words_proof", 1),
        ("证明三角形的面积。", "words_geometry", 3),
        ("小明有多少个苹果\uff1f", "questions", 1),
        ("π ≈ 3", "other", 2),
    ],
)
def test_counts(text: str, name: str, count: int) -> None:
    assert named_features(text)[name] == pytest.approx(log1p(count))


def test_the_largest_number_enters_by_magnitude() -> None:
    assert named_features("7 and 1,000 and 30")["largest_number"] == pytest.approx(np.log10(1001))
    assert named_features("9" * 5000)["largest_number"] == 100
    assert named_features("no number")["largest_number"] == 0


def test_a_system_prompt_changes_the_context_features_only() -> None:
    user = {"role": "user", "content": "What is 17 * 23?"}
    alone = features([user])
    framed = features([{"role": "system", "content": "You are terse. Use 5 words."}, user])
    differing = {name for name, a, b in zip(FEATURE_NAMES, alone, framed, strict=True) if a != b}
    assert differing == {"context_characters"}


@pytest.mark.parametrize(
    "text", ["", " ", "\x00\x01\x02", "\ud800", "😀" * 1000, "\n" * 1000, "٣٤", "1." * 999]
)
def test_any_text_gives_finite_numbers(text: str) -> None:
    assert np.isfinite(features(text)).all()


def test_the_middle_of_a_huge_prompt_is_measured_by_length_only() -> None:
    end = "x" * HALF_WINDOW
    assert named_features(end + "7 8 9" + end)["numbers"] == 0
    assert named_features(end + "7 8 9" + end)["characters"] == pytest.approx(
        log1p(2 * HALF_WINDOW + 5)
    )


def test_a_huge_prompt_is_cheap() -> None:
    text = "Tom has 3 apples (see \\frac{1}{2}). " * 300_000
    start = time.process_time()
    features(text)
    assert time.process_time() - start < 1.0
