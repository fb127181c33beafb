"""The words of many prompts as arrays give what mappings of each prompt give."""

import random
from collections import Counter

import numpy as np
import pytest

from router import word_table
from router.vocabulary import Vocabulary
from router.word_table import WordTable


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[dict[bytes, int]]:
    """Prompts of words by Zipf's law, some of them without any."""
    monkeypatch.setattr(word_table, "_CHUNK", 7)
    rng = random.Random(0)
    names = [f"w{n}".encode() for n in range(60)]
    weights = [1 / (n + 1) for n in range(60)]
    drawn = [rng.choices(names, weights, k=rng.choice((0, 1, 9, 40))) for _ in range(50)]
    return [*(dict(Counter(words)) for words in drawn), {b"w0": 300}]


def test_a_table_holds_the_words_of_its_prompts(prompts: list[dict[bytes, int]]) -> None:
    table = WordTable.of(prompts)
    assert list(table) == prompts
    assert table[-1] == {b"w0": 300}
    rows = np.array([3, 0, 50, 3])
    assert list(table.rows(rows)) == [prompts[row] for row in rows]
    assert list(table[48:]) == prompts[48:]
    in_prompts: Counter[bytes] = Counter()
    for words in prompts:
        in_prompts.update(words.keys())
    assert table.frequent(9) == in_prompts.most_common(9)


def test_a_vocabulary_does_the_same_with_a_table(prompts: list[dict[bytes, int]]) -> None:
    table = WordTable.of(prompts)
    learned, expected = Vocabulary.learn(table[:30]), Vocabulary.learn(prompts[:30])
    assert learned.words == expected.words
    assert learned.idf.tolist() == expected.idf.tolist()
    columns = np.random.default_rng(0).normal(size=(len(learned.words), 5))
    assert learned.project(table, columns) == pytest.approx(expected.project(prompts, columns))
    read = [*prompts[1:], prompts[0]]
    shares = learned.known_shares(table, WordTable.of(read))
    assert shares == pytest.approx(expected.known_shares(prompts, read))
