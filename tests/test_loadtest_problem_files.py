"""Files of prompts and conversations, as other projects write them, and a mix of difficulties."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loadtest.conversations import read_conversations
from loadtest.judge import judgeable
from loadtest.plan import PlanError, Problems
from loadtest.problem import Conversation

SHARE_GPT = [
    {"conversations": [{"from": "human", "value": "one"}, {"from": "gpt", "value": "x"}]},
    {"conversations": [{"from": "gpt", "value": "nobody asked"}]},
    {"conversations": [{"from": who, "value": who} for who in ("human", "gpt", "human", "human")]},
]
ARENA = {"problem_id": "a/1", "prompt": "p", "answer": None, "difficulty": None}
BENCH = {"problem_id": "mt/81", "prompt": "first", "turn2": "second", "answer": None}
TEXT = {"type": "text", "text": "what is it?"}
BENCH_OWN = {"question_id": 81, "turns": ["first", "second"]}
ARENA_OWN = {"question_id": "b", "turns": [{"content": "first"}]}
OPENAI = {
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "second"},
    ]
}


def read(file: Path, **more: Any) -> tuple[list[Conversation], list[str]]:
    notes: list[str] = []
    return read_conversations(Problems(file=file, **more), notes), notes


def lines(file: Path, *rows: Any) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    return file


def prompts(found: list[Conversation]) -> list[list[str]]:
    return [[one.prompt for one in turns] for turns in found]


def test_share_gpt_s_json_as_one_list_or_as_lines(tmp_path: Path) -> None:
    whole = tmp_path / "chats.json"
    whole.write_text(json.dumps(SHARE_GPT, indent=1))
    for file in (whole, lines(tmp_path / "chats.jsonl", *SHARE_GPT)):
        found, notes = read(file, turns=2)
        assert prompts(found) == [["one"], ["human", "human"]]
        assert notes == [f"{file}: 1 conversations without a user message omitted"]


@pytest.mark.parametrize("row", [BENCH, BENCH_OWN, OPENAI])
def test_conversations_of_a_line_are_cut_to_so_many_turns(tmp_path: Path, row: Any) -> None:
    file = lines(tmp_path / "p.jsonl.gz", row)
    assert prompts(read(file, turns=3)[0]) == [["first", "second"]]
    assert prompts(read(file)[0]) == [["first"]]


def test_prompts_that_follow_each_other_make_conversations(tmp_path: Path) -> None:
    file = lines(tmp_path / "p.jsonl.gz", *({"prompt": f"p{n}"} for n in range(5)))
    found, _ = read(file, turns=2)
    assert prompts(found) == [["p0", "p1"], ["p2", "p3"]]
    assert found[0][0].answer is None
    assert prompts(read(lines(tmp_path / "q.jsonl", ARENA, ARENA_OWN))[0]) == [["p"], ["first"]]
    with pytest.raises(PlanError, match="5 problems, too few for 6 turns"):
        read(file, turns=6)


def test_lines_end_at_a_line_feed_only_and_empty_ones_are_none(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "a\u2028b"}\n\n{"prompt": "c\u0085d"}\r\n \n', newline="")
    assert prompts(read(file)[0]) == [["a\u2028b"], ["c\u0085d"]]


def test_prompts_without_ids_get_those_of_their_words(tmp_path: Path) -> None:
    first, _ = read(lines(tmp_path / "p.jsonl", *({"prompt": one} for one in "abab")))
    names = [one.problem_id for (one,) in first]
    assert names == [*names[:2], f"{names[0]}#2", f"{names[1]}#2"]
    assert names[0] != names[1]
    second, _ = read(lines(tmp_path / "q.jsonl", *({"prompt": one} for one in "cba")))
    assert [one.problem_id for (one,) in second][1:] == [names[1], names[0]]
    assert second[0][0].problem_id not in names


WORDS = [{"type": "text", "text": "fir"}, {"type": "text", "text": "st"}]


@pytest.mark.parametrize(
    ("row", "system"),
    [
        ({"prompt": ["first", "second"]}, None),
        ({"prompt": ["first"], "turn2": "second"}, None),
        ({"prompt": OPENAI["messages"]}, "be brief"),
        ({"messages": [{"role": "user", "content": WORDS}, *OPENAI["messages"][3:]]}, None),
        ({"messages": [{"role": "developer", "content": WORDS}, *OPENAI["messages"]]}, "both"),
        (
            {
                "conversations": [{"from": "system", "value": "be brief"}]
                + [{"from": "human", "value": one} for one in ("first", "second")]
            },
            "be brief",
        ),
    ],
)
def test_prompts_are_spelt_in_many_ways(tmp_path: Path, row: Any, system: str | None) -> None:
    ((first, second),) = read(lines(tmp_path / "p.jsonl", row), turns=2)[0]
    assert (first.prompt, second.prompt) == ("first", "second")
    assert first.system == ("first\n\nbe brief" if system == "both" else system)
    assert second.system is None


def test_a_short_file_is_gone_through_again_and_that_is_told(tmp_path: Path) -> None:
    found, notes = read(lines(tmp_path / "p.jsonl", {"prompt": "a"}, {"prompt": "b"}), n=5)
    assert prompts(found) == [["a"], ["b"], ["a"], ["b"], ["a"]]
    assert len({turns[0].problem_id for turns in found}) == 5
    assert "2 conversations, repeated to make 5" in notes[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "conversation 0"),
        ("[", "Expecting"),
        ("[]", "no conversation has a user message"),
        (" ", "no problems"),
        ("5", "line 1"),
        ('{"prompt": "a"}\n{"promt": "b"}', "line 2: invalid problem: KeyError"),
        ('{"problem_id": 1, "prompt": "a"}\n{"problem_id": 1, "prompt": "b"}', "the id 1 repeats"),
        ('{"messages": [{"role": "user", "content": null}]}', "line 1: invalid problem: TypeError"),
        ('{"prompt": [{"role": "user"}]}', "line 1: invalid problem: KeyError"),
    ],
)
def test_what_is_no_problem_is_refused_by_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(text)
    with pytest.raises(PlanError, match=says):
        read(file)


@pytest.mark.parametrize(
    "raw", [b"no gzip", gzip.compress(b"{}")[:10] + b"\xff" * 20], ids=["none", "spoilt"]
)
def test_a_broken_archive_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "p.jsonl.gz").write_bytes(raw)
    with pytest.raises(PlanError, match=r"p\.jsonl\.gz"):
        read(tmp_path / "p.jsonl.gz")


def test_answers_that_are_no_numbers_are_counted_and_not_judged_wrong(tmp_path: Path) -> None:
    answers = ["18", "145.0", "A", "\\frac{2}{3}", "$1,200", "5 km"]
    rows = [{"prompt": str(n), "answer": answer} for n, answer in enumerate(answers)]
    found, notes = read(lines(tmp_path / "p.jsonl", *rows))
    assert [one.answer for (one,) in found] == ["18", "145.0", None, None, "$1,200", None]
    assert notes == ["3 of 6 reference answers are not numbers and are not judged"]
    assert not judgeable("")


def test_demo_problems_come_in_a_mix_of_difficulties() -> None:
    def steps(mix: str | dict[str, float]) -> list[float | None]:
        found = read_conversations(Problems(n=40, seed=3, steps=mix), [])
        assert len({one.problem_id for (one,) in found}) == 40
        return [one.difficulty for (one,) in found]

    found = steps({"1-2": 3, "2-2": 1, "9-10": 4})
    counted = Counter("hard" if (one or 0) > 8 else "easy" for one in found)
    assert counted == {"easy": 20, "hard": 20}
    assert found == steps({"1-2": 3, "2-2": 1, "9-10": 4})
    assert found != sorted(found, key=lambda one: one or 0)
    assert max(one or 0 for one in steps("1-3")) == 3
    with pytest.raises(PlanError, match="FEWEST-MOST"):
        steps({"3-1": 1})


def test_problems_that_are_put_together_have_the_first_one_s_instructions(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "system", "content": name}, {"role": "user", "content": name}]}
        for name in ("one", "two", "three", "four")
    ]
    found, _ = read(lines(tmp_path / "p.jsonl", *rows), turns=2)
    assert prompts(found) == [["one", "two"], ["three", "four"]]
    assert [[turn.system for turn in turns] for turns in found] == [["one", None], ["three", None]]


def test_pictures_are_left_out_and_ids_of_the_silent_are_free(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    silent = {"problem_id": "x", "messages": [{"role": "assistant", "content": "hm"}]}
    seen = {"problem_id": "x", "prompt": [{"role": "user", "content": [picture, TEXT]}]}
    found, notes = read(lines(tmp_path / "p.jsonl", silent, seen))
    assert prompts(found) == [["what is it?"]]
    assert len(notes) == 1
