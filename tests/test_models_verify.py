"""Judging answers: correct ones in any notation, and wrong ones that look correct."""

import asyncio
import gzip
import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

from models.outcomes.verify import Judge, JudgeError, is_correct, is_plain, last_boxed
from router.answers.response import Response

PROBLEMS = DATA / "problems"


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
        ("_61_", "61"),
        ("\u7b54\u6848\u662f61\u3002", "61"),
        ("0.5", ".5"),
        ("20 cm^2", "20"),
        ("-$5", "-5"),
        ("x = 6/2", "3"),
        ("\u22121/2", "-0.5"),
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
        ("1/2", "2"),
        ("-$5", "5"),
        ("12,61", "61"),
        ("12-5", "5"),
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
        ("61 is the answer, since 12 + 4", True),
        ("", False),
    ],
)
def test_a_truncated_answer_must_have_given_its_number(answer: str, right: bool) -> None:
    assert is_correct(answer, "61", truncated=True) == right


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("The answer is (C) because the others fail.", "C"),
        ("A is wrong and so is B. The answer is D.", "D"),
        ("Not A.\n**B**", "B"),
        ("**C. Paris**", "C"),
        ("\\boxed{\\text{(E)}}", "E"),
        ("Answer: F", "F"),
        ("**Answer:** **B**, since option C reverses the sign", "B"),
        ("The correct answer is B.\n\nOption D is wrong", "B"),
        ("My answer: I choose C", "C"),
        ("The answer is I.", "I"),
        ("The best option is D", "D"),
        ("\\boxed{\\textbf{(B)}}", "B"),
        ("\\boxed{\\mathrm{B}}", "B"),
        ("B.", "B"),
    ],
)
def test_choices_are_judged_by_the_letter_given(answer: str, letter: str) -> None:
    assert is_correct(answer, letter)
    assert not any(is_correct(answer, wrong) for wrong in "ABCDEFGHIJ" if wrong != letter)


@pytest.mark.parametrize("answer", ["I think it is A or B", "", "Bananas", "The answer is Banana"])
def test_a_letter_that_is_only_mentioned_is_no_choice(answer: str) -> None:
    assert not is_correct(answer, "B")


def test_a_list_is_no_number() -> None:
    assert not is_correct("3,5,7", "7")
    assert not is_plain("\\sqrt{2}")
    assert is_plain("1,234.5")
    assert is_plain("$5")


def test_the_last_complete_box_holds_the_answer() -> None:
    assert last_boxed("\\boxed{1} then \\boxed{\\frac{1}{2}} and \\boxed{3") == "\\frac{1}{2}"
    assert last_boxed("none {here}") is None
    assert is_correct("I get \\boxed{1{,}234}, after 7 steps", "1234")
    assert not is_correct("It is not 61 but \\boxed{62}, not 61", "61")


@pytest.mark.parametrize(
    "answer",
    [
        r"\boxed{7} or 8",
        r"\boxed{7} or about 8",
        r"\boxed{7} hours or 8 hours",
        r"\boxed{7}; or 8",
        r"\boxed{7} (or 8)",
        r"\boxed{7}. Or 8.",
        r"\boxed{7} apples or 8",
        r"\boxed{7} and 8",
        r"\boxed{7}, 8",
        r"\boxed{7} to 9",
        r"\boxed{7}-8",
        r"\boxed{7}:3",
        r"$\boxed{7}$ or $-7$",
        r"$\boxed{7} \text{ or } 8$",
        r"\[\boxed{7}\] or 8",
        r"8 or \boxed{7}",
        r"Therefore, $x = \boxed{7}$ or $x = 8$.",
        r"$x = 8$ or $x = \boxed{7}$",
        r"The answer is either $\boxed{7}$ or $8$.",
        r"more than \boxed{7}",
        "It is at least\n\\[\\boxed{7}\\]",
        r"It is between 3 and \boxed{7}.",
        r"less than or equal to \boxed{7}",
        r"\boxed{7} or more",
        r"\boxed{7} hours or more",
        r"\boxed{7} at least",
        r"Thus $n \geq \boxed{7}$.",
        r"$x < \boxed{7}$",
        r"x \ne \boxed{7}",
        r"The answer cannot be \boxed{7}.",
        r"We ruled out \boxed{7}.",
        r"\boxed{7} is incorrect.",
        r"\boxed{7} is a common wrong answer.",
        r"\boxed{7} is not the answer.",
        r"\boxed{7} does not work.",
        r"\boxed{7} (wrong)",
        r"\boxed{7} if x is even, otherwise 8",
        r"\boxed{7} (maybe 8)",
        r"\boxed{7} was my first guess, but it is 8.",
        "\\boxed{7}\n\nActually, 8.",
        "\\boxed{7}\n\nUpdate: 8",
        "\\boxed{7}\n\nSorry, it is 8.",
        "\\boxed{7}\n\nThis is not the right answer.",
        r"I get \boxed{7}, which is wrong.",
        r"\boxed{7}? I cannot tell.",
        "\\boxed{7}\n\nEdit: 8",
        r"\sqrt{\boxed{7}}",
        r"$\log \boxed{7}$",
        r"$\frac{\boxed{7}}{2}$",
        r"$x^{\boxed{7}}$",
        r"$\lfloor\boxed{7}\rfloor$",
        r"$(\boxed{7}, 3)$",
        r"$3 + \boxed{7}$",
        r"$- \boxed{7}$",
        r"2\boxed{7}",
        r"0.\boxed{7}",
        r"twice \boxed{7}",
        r"\boxed{7}/2",
        r"\boxed{7}!",
        r"\boxed{7}.5",
        r"\boxed{7},000",
        r"\boxed{7}_8",
        r"\boxed{7} plus 1",
        r"\boxed{7} 1/2",
        r"\boxed{7} and a half",
        r"$\boxed{7} i$",
        r"$\boxed{7} x$",
        r"\boxed{7} \cdot 10^3",
        r"\boxed{7} million",
        r"$\boxed{7} \text{ million}$",
        r"\boxed{7}\%",
        "**7** or 8",
        "**7**. Or 8.",
        "either 8 or **7**",
        "more than **7**",
        "**7** is wrong",
        "**7** million",
        "#### 7\nor 8",
        "#### 7? I am not sure.",
        "not <answer>7</answer>",
        "more than <answer>7</answer>",
        "<answer>7</answer> or 8",
        "<answer>7</answer> is wrong",
        "The answer is 7 (or 8).",
        "The answer is 7; or 8.",
        "The answer is 7. Or 8.",
        "The answer is 7. Alternatively, 8.",
        "The answer is 7. Sorry, I meant 8.",
        "The answer is 7.\n\nEdit: 8",
        "The answer is 7. That can't be right.",
        "The answer is 7. This cannot be correct.",
        "The answer is 7. No, it is 8.",
        "The answer is 7. Or maybe 8.",
        "The answer is 7. It could also be 8.",
        "The answer is 7. Wrong! 8.",
        "The answer is 7. I doubt it.",
        "The answer is 7, but 8 also works.",
        "The answer is 7 (not correct).",
        "The answer is 7, which is wrong.",
        "The answer is 7. Both 7 and 8 work.",
        "The answer is 7 (base 8).",
        "y = 8\nx = 7",
    ],
)
def test_alternatives_bounds_terms_and_rejections_around_an_answer_count(answer: str) -> None:
    assert not is_correct(answer, "7")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"$\frac{\boxed{1}}{6}$", "1"),
        (r"\boxed{1},000", "1"),
        (r"|\boxed{-7}|", "-7"),
        (r"\boxed{B} or C", "B"),
        (r"A or \boxed{B}", "B"),
        (r"\boxed{B} is wrong.", "B"),
        ("either **B** or C", "B"),
        ("<answer>B</answer> or C", "B"),
        ("Answer: A B", "A"),
        ("Answer: A; B", "A"),
        ("The answer is B, and D is correct too.", "B"),
        ("The answer is B. Maybe D.", "B"),
        ("The answer is Tuesday. Sorry, Wednesday.", "Tuesday"),
        ("(1,2); (3,4)", "(3,4)"),
        ("The answer is B (or C).", "B"),
        ("The answer is B. Or C.", "B"),
        ("The answer is B. Both B and C work.", "B"),
        ("The answer is B. C is also correct.", "B"),
        (r"\boxed{\text{Tuesday}} or Wednesday", "Tuesday"),
        ("Tuesday or **Wednesday**", "Wednesday"),
        ("The answer is Tuesday (or Wednesday).", "Tuesday"),
        ("The answer is Tuesday. Or Wednesday.", "Tuesday"),
        (r"\boxed{\text{Yes}}, no", "Yes"),
        (r"\boxed{\text{Paris}} is incorrect.", "Paris"),
        (r"anywhere but \boxed{\text{Paris}}", "Paris"),
        (r"\boxed{(1,2)} or (3,4)", "(1,2)"),
        ("(x,y)=(1,2) or (3,4)", "(3,4)"),
        (r"\boxed{3:4} or 4:3", "3:4"),
        ("x = 7\ny = 8", "8"),
    ],
)
def test_what_is_around_answers_of_all_kinds_counts(answer: str, gold: str) -> None:
    assert not is_correct(answer, gold)


@pytest.mark.parametrize(
    "answer",
    [
        r"\boxed{7}.",
        r"$\boxed{7}$!",
        r"**\boxed{7}**",
        r"\fbox{\boxed{7}}",
        r"- \boxed{7}",
        r"* $\boxed{7}$",
        r"\boxed{7}$ is our answer.",
        r"$\boxed{7}$ or $7.0$",
        r"$\boxed{7}$ apples",
        r"\boxed{7} \text{ cm}",
        r"\boxed{7}kg of meat",
        r"$\boxed{7} \mu \mathrm{m}$",
        r"\boxed{7}^\circ",
        r"\boxed{7}£",
        r"\boxed{7} \quad \text{(E)}",
        r"$N \equiv \boxed{7} \pmod{10}$.",
        r"so $x=\boxed{7}$.",
        r"$3+4=\boxed{7}$",
        r"$x+2y = 3 \Rightarrow x = \boxed{7}$.",
        r"$3x = 21$ and $x = \boxed{7}$",
        r"$x + 40 = 47$ or $x = \boxed{7}$",
        r"That is $3+4$ or $\boxed{7}$ m.",
        "The answer is:\n$$\n\\boxed{7}\n$$",
        "\\[x = \\boxed{7}.\\] This is what we wanted.",
        r"\begin{align*} x &= 3+4 \\ &= \boxed{7}. \end{align*}",
        r"The smallest integer greater than 6 is $\boxed{7}$.",
        r"We round up to $\boxed{7}$.",
        r"She has $7 left over $\boxed{7}$",
        r"So $\boxed{7}$ of the 10 numbers are factors of 34 or multiples of 7.",
        r"\boxed{7} students like chess or basketball.",
        r"There are $\boxed{7}$ numbers between 10 and 30 that are not even.",
        r"The answer is \boxed{7}, so she has 7 apples.",
        r"$\boxed{7}$ (since $3+4=7$).",
        r"We do it \boxed{7} times.",
        "\\boxed{7}\n\nLet me know if you need more",
        r"一共有\boxed{7}个苹果。",
        "There are 7 more apples than not\n#### 7",
        "<answer>\n7\n</answer>",
        "She has **7** apples left.",
        "The answer is 7 (since 3+4=7).",
        "The answer is 7. Both methods give 7.",
        "The answer is 7. No other number works.",
        "The answer is 7, and we are done.",
        r"It can store $\boxed{7}$ 200-kilobyte videos.",
        "The answer is 7. Alternatively, x = 3+4 = 7.",
    ],
)
def test_prose_around_an_answer_leaves_it_right(answer: str) -> None:
    assert is_correct(answer, "7")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"$\boxed{\frac12}$ or 0.5", "0.5"),
        (r"The answer is 1/2 or 0.5.", r"\frac{1}{2}"),
        (r"$\boxed{\frac{3}{4}}$ (or 0.75)", r"\frac{3}{4}"),
        (r"$\boxed{\frac{3}{4}}$ or 75%", r"\frac{3}{4}"),
        (r"$\boxed{\frac{3}{4}}$ or equivalently 0.75", r"\frac{3}{4}"),
        (r"$\boxed{\frac{2}{3}}$, or approximately 0.667", r"\frac{2}{3}"),
        (r"\boxed{7} or, in words, seven", "7"),
        ("**120 minutes** (or 2 hours)", "120"),
        ("**120** minutes, or 2 hours", "120"),
        (r"= \boxed{7}\%", "7%"),
        (r"-\boxed{7}", "-7"),
        (r"$x = - \boxed{7}$", "-7"),
        (r"\boxed{B} because A fails.", "B"),
        (r"Only graph $\boxed{A}$ shows both.", "A"),
        ("The answer is B. Both A and C are wrong.", "B"),
        ("الجواب: C", "C"),
        (r"$\boxed{\text{Tuesday}}$ is the day.", "Tuesday"),
        ("**No**, 91 is not prime.", "No"),
        ("I'm **Bob**.", "Bob"),
        (r"$x \in \boxed{[1,2)}$", "[1,2)"),
        (r"The roots are $\boxed{(1,2)}$.", "(1,2)"),
        ("3.14 (rounded to 2 decimals)", "3.14"),
    ],
)
def test_prose_around_answers_of_all_kinds_leaves_them_right(answer: str, gold: str) -> None:
    assert is_correct(answer, gold)


EXPRESSIONS = [
    (r"\boxed{x+1} or x-1", "x+1", False),
    (r"$x-1$ or $\boxed{x+1}$", "x+1", False),
    (r"\boxed{x+1} is wrong.", "x+1", False),
    (r"\boxed{x+1}?", "x+1", False),
    (r"not \boxed{x+1}", "x+1", False),
    (r"2\boxed{x+1}", "2x+1", False),
    (r"\boxed{x+1}/2", "x+1", False),
    (r"$y \ge \boxed{x+1}$", "x+1", False),
    (r"$\sqrt{\boxed{x}}$", "x", False),
    (r"The answer is $x+1$. Or $x-1$.", "x+1", False),
    ("The answer is $x+1$.\n\nEdit: $x-1$", "x+1", False),
    (r"\boxed{x+1} is the answer.", "x+1", True),
    (r"$f(x) = \boxed{x+1}$, as desired.", "x+1", True),
    (r"The distance is $\boxed{3\sqrt{2}}$ miles.", r"\sqrt{18}", True),
    ("\\boxed{\\frac12}", "0.5", True),
    ("\\boxed{\\dfrac{1}{2}}", "\\frac{1}{2}", True),
    ("so it is \\boxed{0.5}", "\\frac{1}{2}", True),
    ("\\boxed{\\frac{333}{1000}}", "\\frac{1}{3}", False),
    ("\\boxed{0.3333}", "\\frac{1}{3}", False),
    ("\\boxed{\\frac{1}{2}}", "2", False),
    ("\\boxed{90^\\circ}", "90", True),
    ("\\boxed{5\\text{ cm}}", "5", True),
    ("\\boxed{3\\sqrt{2}}", "\\sqrt{18}", True),
    ("\\boxed{(1,2)}", "(1, 2)", True),
    ("\\boxed{(2,1)}", "(1, 2)", False),
    ("\\boxed{1+x}", "x+1", True),
    ("\\boxed{\\text{Monday}}", "\\text{Monday}", True),
    ("It could be $\\frac12$, but it is \\boxed{\\frac13}", "\\frac12", False),
    ("First $\\sqrt{2}", "\\sqrt{2}", False),
]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """Its worker imports SymPy once for all tests."""
    with Judge(seconds=60) as judge:
        yield judge


def judged(judge: Judge, pairs: Iterable[tuple[str, str]]) -> list[bool]:
    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(judge.is_correct(a, gold) for a, gold in pairs))

    return asyncio.run(all_of_them())


def test_mathematics_is_judged_by_math_verify(judge: Judge) -> None:
    async def verdicts() -> list[bool]:
        cut = {"First $\\sqrt{2}"}
        return [await judge.is_correct(a, gold, a in cut) for a, gold, _ in EXPRESSIONS]

    assert asyncio.run(verdicts()) == [right for _, _, right in EXPRESSIONS]


@pytest.mark.slow
def test_a_judgement_that_times_out_is_wrong_and_the_next_is_judged() -> None:
    async def judged() -> list[bool]:
        with Judge(seconds=8) as judge:
            hard = await judge.is_correct("\\boxed{9^{9^{9^9}}}", "x + 9^{9^{9^8}}")
            return [hard, await judge.is_correct("\\boxed{1+x}", "x+1")]

    assert asyncio.run(judged()) == [False, True]


@pytest.mark.slow
@pytest.mark.skipif(not PROBLEMS.is_dir(), reason="the shared problem sets are not here")
@pytest.mark.parametrize("name", ["gsm8k_test", "svamp", "aqua", "math_4500"])
def test_the_gold_answers_of_real_sets_are_right_and_their_neighbours_are_not(
    judge: Judge, name: str
) -> None:
    with gzip.open(PROBLEMS / f"{name}.jsonl.gz", "rt") as rows:
        golds = [json.loads(row)["answer"] for row in rows][::20]
    golds = [gold for gold in golds if judge.unjudgeable(gold) is None]
    answers = [f"So the answer is \\boxed{{{gold}}}." for gold in golds]
    assert all(judged(judge, zip(answers, golds, strict=True)))
    shifted = list(zip(answers, golds[1:], strict=False))
    same = [a == b for a, b in pairwise(golds)]
    wrong = judged(judge, shifted)
    assert sum(wrong) <= sum(same) + 0.02 * len(golds)


PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parent / "answer_pairs.jsonl").read_text("utf-8").splitlines()
]
"""Gold answers with right and wrong answers; `refused` are right, and known to be refused.

Rows with `question` were asked it, and those with `algebra` need math-verify.
"""


def test_there_are_hundreds_of_pairs() -> None:
    counts = {
        key: sum(len(row.get(key, ())) for row in PAIRS) for key in ("right", "refused", "wrong")
    }
    assert counts["right"] > 2_000
    assert counts["wrong"] > 2_500
    assert counts["refused"] < 0.02 * counts["right"]


@pytest.mark.parametrize(
    "row",
    [row for row in PAIRS if not row.get("algebra")],
    ids=lambda row: row["gold"].encode("ascii", "backslashreplace").decode(),
)
def test_pairs_of_answers_and_gold_answers(row: dict[str, Any]) -> None:
    """Wrong answers that look right are worst: training would learn them."""
    gold, question = row["gold"], row.get("question", "")
    verdicts = {
        answer: is_correct(answer, gold, question=question)
        for answer in (*row["wrong"], *row["right"])
    }
    assert [answer for answer in row["wrong"] if verdicts[answer]] == []
    assert [answer for answer in row["right"] if not verdicts[answer]] == []


@pytest.mark.slow
def test_pairs_that_need_algebra(judge: Judge) -> None:
    rows = [row for row in PAIRS if row.get("algebra")]
    right = [(answer, row["gold"]) for row in rows for answer in row["right"]]
    wrong = [(answer, row["gold"]) for row in rows for answer in row["wrong"]]
    verdicts = dict(zip([*right, *wrong], judged(judge, [*right, *wrong]), strict=True))
    assert [pair for pair in wrong if verdicts[pair]] == []
    assert [pair for pair in right if not verdicts[pair]] == []


@pytest.mark.slow
@pytest.mark.skipif(not PROBLEMS.is_dir(), reason="the shared problem sets are not here")
def test_written_solutions_are_right_with_their_answer_and_wrong_without() -> None:
    with gzip.open(PROBLEMS / "gsm8k_train_solutions.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines][::20]
    for row, following in pairwise(rows):
        assert is_correct(f"{row['solution']}\n#### {row['answer']}", row["answer"])
        if row["answer"] != following["answer"]:
            assert not is_correct(f"{row['solution']}\n#### {row['answer']}", following["answer"])
    prose = [is_correct(row["solution"], row["answer"]) for row in rows]
    assert prose.count(False) <= 0.1 * len(rows)  # facts, terms, or two numbers at the end
    shifted = [is_correct(a["solution"], b["answer"]) for a, b in pairwise(rows)]
    same = [a["answer"] == b["answer"] for a, b in pairwise(rows)]
    assert sum(shifted) <= sum(same)


@pytest.mark.slow
@pytest.mark.skipif(not PROBLEMS.is_dir(), reason="the shared problem sets are not here")
@pytest.mark.parametrize(
    "ending", ["", "\n\n**Answer: {}**", "\n\nTherefore, the answer is {}.", " $\\boxed{{{}}}$"]
)
def test_no_other_number_of_a_written_solution_is_its_answer(ending: str) -> None:
    with gzip.open(PROBLEMS / "gsm8k_train_solutions.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines][::50]
    accepted: list[str] = []
    for row in rows:
        gold = float(row["answer"].replace(",", ""))
        response = row["solution"] + ending.format(row["answer"])
        numbers = re.findall(r"(?<![\d.,])\d+(?:\.\d+)?(?![\d,])", f"{row['prompt']} {response}")
        others = {number for number in numbers if float(number) != gold}
        accepted += [number for number in others if is_correct(response, number)]
    assert accepted in ([], ["45"])  # one solution of the set computes 45, and its answer is 33


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["1" * 30_000, "12 " * 10_000, "\\boxed{" * 4_000, "<answer>" * 4_000, "12" + "\n" * 30_000],
)
def test_long_answers_of_any_shape_are_read(text: str) -> None:
    assert not any(is_correct(text, gold) for gold in ("7", "B", "Paris", "(1,2)"))


@pytest.mark.parametrize("cue", ["answer: ", "answer: x ", "the answer is "])
def test_what_is_read_of_repeated_cues_grows_with_their_number(cue: str) -> None:
    read = [sum(len(item.text) for item in Response(cue * n).statements) for n in (300, 1200)]
    assert read[1] <= 5 * read[0] + len(cue)


def test_what_is_read_around_boxes_grows_with_their_number() -> None:
    read = [
        sum(len(item.before) + len(item.behind) for item in Response("\\boxed{7}" * n).statements)
        for n in (300, 1200)
    ]
    assert read[1] <= 5 * read[0]


def test_the_way_of_judging_may_be_chosen() -> None:
    assert judged(Judge(by="number"), [("12 pens", "12"), ("a dozen", "12")]) == [True, False]
    texts = [(" A  b", "a B"), ("a", "a B"), ("\\boxed{a b}", "A b")]
    assert judged(Judge(by="exact"), texts) == [True, False, True]
    assert judged(Judge(by="choice"), [("Answer: B", "B"), ("Answer: C", "B")]) == [True, False]
    with Judge(by="math") as judge:
        assert judged(judge, [("$\\frac{2}{4}$", "0.5")]) == [True]
    with pytest.raises(JudgeError, match="cannot be judged by guess: auto, math"):
        Judge(by="guess")


@pytest.mark.slow
def test_a_user_s_function_judges_in_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import os, time\n"
        "def near(answer, gold):\n"
        "    if answer == 'slow': time.sleep(60)\n"
        "    if answer == 'bad': raise KeyError('x')\n"
        "    if answer == 'pid': return os.getpid() != int(gold)\n"
        "    return abs(float(answer) - float(gold)) < 1\n"
        "number = 5\n"
    )
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    pairs = [("5.5", "5"), ("7", "5"), ("slow", "5"), ("pid", str(os.getpid()))]
    with Judge(seconds=3, by="mine:near", processes=2) as judge:
        assert judged(judge, pairs) == [True, False, False, True]
        with pytest.raises(JudgeError, match="mine:near failed: KeyError"):
            judged(judge, [("bad", "5")])
    for name, message in (
        ("mine:far", "no attribute"),
        ("mine:number", "not a function"),
        ("broken:f", "ZeroDivisionError"),
    ):
        with pytest.raises(JudgeError, match=message):
            Judge(by=name)


def test_a_gold_answer_that_cannot_be_judged_is_reported() -> None:
    assert "not a number" in (Judge(by="number").unjudgeable("x + y") or "")
    assert "not a letter" in (Judge(by="choice").unjudgeable("12") or "")
    assert "braces" in (Judge().unjudgeable("5}\n\\end{align*") or "")
    assert "empty" in (Judge(by="exact").unjudgeable(" ") or "")
    assert Judge(by="exact").unjudgeable("x") is None
