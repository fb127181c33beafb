"""Files of prompts and conversations in the formats of other projects, and demo problems."""

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


def read(file: Path, **options: Any) -> tuple[list[Conversation], list[str]]:
    notes: list[str] = []
    return read_conversations(Problems(file=file, **options), notes), notes


def lines(file: Path, *rows: Any) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    return file


def prompts(conversations: list[Conversation]) -> list[list[str]]:
    return [[turn.prompt for turn in turns] for turns in conversations]


def test_sharegpt_as_a_json_list_or_as_json_lines(tmp_path: Path) -> None:
    json_list = tmp_path / "chats.json"
    json_list.write_text(json.dumps(SHARE_GPT, indent=1))
    for file in (json_list, lines(tmp_path / "chats.jsonl", *SHARE_GPT)):
        conversations, notes = read(file, turns=2)
        assert prompts(conversations) == [["one"], ["human", "human"]]
        assert notes == [f"{file}: 1 conversations without a user message omitted"]


@pytest.mark.parametrize("row", [BENCH, BENCH_OWN, OPENAI])
def test_a_conversation_is_cut_to_the_number_of_turns(tmp_path: Path, row: Any) -> None:
    file = lines(tmp_path / "p.jsonl.gz", row)
    assert prompts(read(file, turns=3)[0]) == [["first", "second"]]
    assert prompts(read(file)[0]) == [["first"]]


def test_successive_prompts_are_joined_to_conversations(tmp_path: Path) -> None:
    file = lines(tmp_path / "p.jsonl.gz", *({"prompt": f"p{n}"} for n in range(5)))
    conversations, _ = read(file, turns=2)
    assert prompts(conversations) == [["p0", "p1"], ["p2", "p3"]]
    assert conversations[0][0].answer is None
    assert prompts(read(lines(tmp_path / "q.jsonl", ARENA, ARENA_OWN))[0]) == [["p"], ["first"]]
    with pytest.raises(PlanError, match="5 problems, too few for 6 turns"):
        read(file, turns=6)


def test_lines_end_at_line_feeds_only_and_empty_lines_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "a\u2028b"}\n\n{"prompt": "c\u0085d"}\r\n \n', newline="")
    assert prompts(read(file)[0]) == [["a\u2028b"], ["c\u0085d"]]


def test_prompts_without_ids_get_ids_from_their_text(tmp_path: Path) -> None:
    first, _ = read(lines(tmp_path / "p.jsonl", *({"prompt": letter} for letter in "abab")))
    names = [problem.problem_id for (problem,) in first]
    assert names == [*names[:2], f"{names[0]}#2", f"{names[1]}#2"]
    assert names[0] != names[1]
    second, _ = read(lines(tmp_path / "q.jsonl", *({"prompt": letter} for letter in "cba")))
    assert [problem.problem_id for (problem,) in second][1:] == [names[1], names[0]]
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
                + [{"from": "human", "value": text} for text in ("first", "second")]
            },
            "be brief",
        ),
    ],
)
def test_prompts_are_read_in_many_formats(tmp_path: Path, row: Any, system: str | None) -> None:
    ((first, second),) = read(lines(tmp_path / "p.jsonl", row), turns=2)[0]
    assert (first.prompt, second.prompt) == ("first", "second")
    assert first.system == ("first\n\nbe brief" if system == "both" else system)
    assert second.system is None


def test_a_short_file_is_repeated_with_a_note(tmp_path: Path) -> None:
    conversations, notes = read(lines(tmp_path / "p.jsonl", {"prompt": "a"}, {"prompt": "b"}), n=5)
    assert prompts(conversations) == [["a"], ["b"], ["a"], ["b"], ["a"]]
    assert len({turns[0].problem_id for turns in conversations}) == 5
    assert "2 conversations, repeated to make 5" in notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "conversation 0: .* 1 is not an object"),
        ("[", "Expecting"),
        ("[]", "no conversation has a user message"),
        (" ", "no problems"),
        ("5", "line 1"),
        ('{"prompt": "a"}\n{"promt": "b"}', "line 2: .* no prompt, turns, messages or"),
        ('{"problem_id": 1, "prompt": "a"}\n{"problem_id": 1, "prompt": "b"}', "the id 1 repeats"),
        (
            '{"messages": [{"role": "user", "content": null}]}',
            "line 1: .* None is neither text nor a list",
        ),
        ('{"prompt": [{"role": "user"}]}', "line 1: .* field content is missing"),
    ],
)
def test_an_invalid_problem_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(text)
    with pytest.raises(PlanError, match=message):
        read(file)


@pytest.mark.parametrize(
    "raw", [b"no gzip", gzip.compress(b"{}")[:10] + b"\xff" * 20], ids=["none", "spoilt"]
)
def test_a_broken_gzip_file_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "p.jsonl.gz").write_bytes(raw)
    with pytest.raises(PlanError, match=r"p\.jsonl\.gz"):
        read(tmp_path / "p.jsonl.gz")


def test_reference_answers_that_are_not_numbers_are_counted_and_not_judged(tmp_path: Path) -> None:
    answers = ["18", "145.0", "A", "\\frac{2}{3}", "$1,200", "5 km"]
    rows = [{"prompt": str(n), "answer": answer} for n, answer in enumerate(answers)]
    conversations, notes = read(lines(tmp_path / "p.jsonl", *rows))
    assert [problem.answer for (problem,) in conversations] == [
        "18",
        "145.0",
        None,
        "\\frac{2}{3}",
        "$1,200",
        "5 km",
    ]
    assert notes == ["1 of 6 reference answers are not numbers and are not judged"]
    assert not judgeable("")


def test_demo_problems_come_in_a_mix_of_difficulties() -> None:
    def steps(mix: str | dict[str, float]) -> list[float | None]:
        conversations = read_conversations(Problems(n=40, seed=3, steps=mix), [])
        assert len({problem.problem_id for (problem,) in conversations}) == 40
        return [problem.difficulty for (problem,) in conversations]

    difficulties = steps({"1-2": 3, "2-2": 1, "9-10": 4})
    counts = Counter("hard" if (step or 0) > 8 else "easy" for step in difficulties)
    assert counts == {"easy": 20, "hard": 20}
    assert difficulties == steps({"1-2": 3, "2-2": 1, "9-10": 4})
    assert difficulties != sorted(difficulties, key=lambda step: step or 0)
    assert max(step or 0 for step in steps("1-3")) == 3
    with pytest.raises(PlanError, match="3-1 is not LOW-HIGH"):
        steps({"3-1": 1})


def test_joined_problems_keep_the_opening_system_message_only(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "system", "content": name}, {"role": "user", "content": name}]}
        for name in ("one", "two", "three", "four")
    ]
    conversations, _ = read(lines(tmp_path / "p.jsonl", *rows), turns=2)
    assert prompts(conversations) == [["one", "two"], ["three", "four"]]
    assert [[turn.system for turn in turns] for turns in conversations] == [
        ["one", None],
        ["three", None],
    ]


def test_images_are_ignored_and_rows_without_user_messages_do_not_use_their_ids(
    tmp_path: Path,
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    without_user = {"problem_id": "x", "messages": [{"role": "assistant", "content": "hm"}]}
    with_image = {"problem_id": "x", "prompt": [{"role": "user", "content": [picture, TEXT]}]}
    conversations, notes = read(lines(tmp_path / "p.jsonl", without_user, with_image))
    assert prompts(conversations) == [["what is it?"]]
    assert len(notes) == 1
