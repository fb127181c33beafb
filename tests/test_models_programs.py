"""Judging programs: by the tests of their problem, in the sandbox, with wrong ones in plenty."""

import ast
import asyncio
import copy
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

from models.outcomes.check import ProgramTests
from models.outcomes.problem_sets import ProblemError, read_problems
from models.outcomes.program import program
from models.outcomes.verify import Judge, JudgeError
from models.sandbox.sandbox import unsupported

pytestmark = pytest.mark.skipif(unsupported() is not None, reason=str(unsupported()))

PROBLEMS = DATA / "problems"

TESTS = "assert double(2) == 4\nassert double(-1) == -2"
RIGHT = "def double(x):\n    return 2 * x"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(seconds=5, run_code=True) as judge:
        yield judge


def passes(
    judge: Judge, response: str, tests: str = TESTS, prompt: str = "", truncated: bool = False
) -> bool:
    return asyncio.run(judge.is_correct(response, "", truncated, ProgramTests(tests, prompt)))


@pytest.mark.parametrize(
    "response",
    [
        f"```python\n{RIGHT}\n```",
        f"Sure!\n\n```\n{RIGHT}\n```\nIt doubles.",
        f"<think>```python\ndef double(x): return x\n```</think>```py\n{RIGHT}\n```",
        f"First try:\n```python\ndef double(x): return x\n```\nBetter:\n```python\n{RIGHT}\n```\n"
        "Use it:\n```python\nprint(double(3))\n```",
        RIGHT,
        f"Here it is:\n{RIGHT}\nThis doubles x.",
        "```python\ndouble = lambda x: x + x\n```",
        f"```python\n{RIGHT}\n\nif __name__ == '__main__':\n    raise SystemExit(double(1))\n```",
    ],
)
def test_a_right_program_passes(judge: Judge, response: str) -> None:
    assert passes(judge, response)


@pytest.mark.parametrize(
    "response",
    [
        "",
        "The function doubles x, and all tests pass.",
        "```python\ndef double(x):\n    return x\n```",
        "```python\ndef double(x):\n    pass\n```",
        "```python\ndef twice(x):\n    return 2 * x\n```",
        f"```python\n{RIGHT}\nimport os; os._exit(0)\n```".replace("2 * x", "x"),
        "```python\ndef double(x): return x\nraise SystemExit(0)\n```",
        "```python\ndef double(x):\n    import sys; sys.exit(0)\n```",
        f"<think>\n```python\n{RIGHT}\n```\n</think>\nI do not know.",
        f"```python\n{RIGHT}\n```\nNo, this is it:\n```python\ndef double(x): return x\n```",
        "```cpp\nint double(int x) { return 2 * x; }\n```",
    ],
)
def test_a_wrong_program_fails(judge: Judge, response: str) -> None:
    assert not passes(judge, response)


def test_an_endless_program_fails() -> None:
    with Judge(seconds=0.5, run_code=True) as judge:
        assert not passes(judge, "```python\ndef double(x):\n    while True: pass\n```")


def test_a_block_that_was_cut_off_counts_for_nothing(judge: Judge) -> None:
    assert passes(judge, f"```python\n{RIGHT}\n", truncated=False)
    assert not passes(judge, f"```python\n{RIGHT}\n", truncated=True)


def test_a_response_may_continue_a_prompt_of_code(judge: Judge) -> None:
    prompt = 'import math\n\ndef double(x):\n    """Twice x."""\n'
    assert passes(judge, "    return math.floor(2 * x)", prompt=prompt)
    assert passes(judge, "```python\n    return math.floor(2 * x)\n```", prompt=prompt)
    assert not passes(judge, "    return math.floor(x)", prompt=prompt)
    assert not passes(judge, "", prompt=prompt)


def test_programs_run_only_where_that_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(json.dumps({"problem_id": "1", "prompt": "Double x.", "tests": TESTS}))
    with pytest.raises(ProblemError, match=r"--run-code"):
        read_problems(str(file))
    (problem,) = read_problems(str(file), run_code=True)
    assert problem.check == ProgramTests(TESTS, "Double x.")
    with Judge() as judge, pytest.raises(JudgeError, match="--run-code"):
        asyncio.run(judge.is_correct(RIGHT, "", check=problem.check))


SOLUTIONS = {
    "Python/0": """
def has_close_elements(numbers: List[float], threshold: float) -> bool:
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            if i != j and abs(a - b) < threshold:
                return True
    return False
""",
    "Python/2": "def truncate_number(number):\n    return number % 1.0\n",
    "Python/13": """
def greatest_common_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a
""",
    "mbpp/3": """
def is_not_prime(n):
    result = False
    for i in range(2, int(n ** 0.5) + 1):
        if n % i == 0:
            result = True
    return result
""",
    "mbpp/8": "def square_nums(nums):\n    return list(map(lambda x: x ** 2, nums))\n",
    "mbpp/17": "def square_perimeter(a):\n    return 4 * a\n",
}
"""Written for these tests; HumanEval's and MBPP's own are not used."""


class Mutation(ast.NodeTransformer):
    """Changes the n-th operator, comparison, number or constant of a program."""

    def __init__(self, n: int) -> None:
        self.left = n
        self.changed = False

    def _is_due(self) -> bool:
        self.left -= 1
        self.changed |= self.left == -1
        return self.left == -1

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        self.generic_visit(node)
        if self._is_due():
            node.op = ast.Add() if not isinstance(node.op, ast.Add) else ast.Sub()
        return node

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        swaps: dict[type[ast.cmpop], ast.cmpop] = {ast.Lt: ast.GtE(), ast.Eq: ast.NotEq()}
        if type(node.ops[0]) in swaps and self._is_due():
            node.ops[0] = swaps[type(node.ops[0])]
        return node

    def visit_Constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bool):
            return ast.Constant(not node.value) if self._is_due() else node
        if isinstance(node.value, int | float) and self._is_due():
            return ast.Constant(node.value + 1)
        return node


def mutants(code: str) -> Iterator[str]:
    tree = ast.parse(code)
    for n in range(100):
        mutation = Mutation(n)
        changed = mutation.visit(copy.deepcopy(tree))
        if not mutation.changed:
            return
        yield ast.unparse(ast.fix_missing_locations(changed))


@pytest.mark.skipif(not PROBLEMS.is_dir(), reason="shared/data is not there")
def test_mutants_pass_only_where_the_problem_s_own_tests_miss_them(judge: Judge) -> None:
    problems: dict[str, Any] = {}
    for name in ("humaneval", "mbpp"):
        with gzip.open(PROBLEMS / f"{name}.jsonl.gz", "rt") as stream:
            problems |= {row["problem_id"]: row for row in map(json.loads, stream)}
    failed = 0
    for problem_id, solution in SOLUTIONS.items():
        row = problems[problem_id]
        assert passes(judge, f"```python\n{solution}```", row["answer"], row["prompt"]), problem_id
        for mutant in mutants(solution):
            verdict = passes(judge, f"```python\n{mutant}\n```", row["answer"], row["prompt"])
            failed += not verdict
            if verdict:  # then its tests hold outside of the sandbox, too
                exec(f"from typing import *\n{mutant}\n{row['answer']}", {})
    assert failed > 10


def test_the_program_holds_prompt_code_and_tests_in_this_order() -> None:
    text = program(RIGHT, "import math\ndef helper(): ...\n", TESTS, truncated=False)
    assert text is not None
    assert text.index("helper") < text.index("def double") < text.index("assert double")
