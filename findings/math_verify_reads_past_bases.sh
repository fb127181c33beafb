#!/bin/sh
# math-verify 0.9.0: a number in another base is its digits in base ten, and a percentage equals two numbers.
#
# Guess: `verify` compares values, so $101_2$ is 5, and an answer is right under one reading only.
# Seen: the base is dropped: $101_2$ equals $101$ and not $5$. $50\%$ equals both $50$ and $0.5$, which differ from
# each other. An ordered pair $(1, 2)$, which is read as an open interval, equals the unordered $1, 2$.
# Hurts: whoever rewards or selects answers by it on number theory (22 of 4,500 golds of MATH have a base): answers that forgot
# the conversion, which is the task, count as right, and converted ones as wrong.
# Remedy: compare bases, percentages and tuples before math-verify is asked, and leave it expressions only.
# Source: run; math_verify/parser.py and grader.py of the released wheel.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  math-verify==0.9.0
"$folder/venv/bin/python" - <<'PYTHON'
from math_verify import parse, verify

expected = {
    ("$101_2$", "$101$"): True,
    ("$101_2$", "$5$"): False,
    (r"$50\%$", "$50$"): True,
    (r"$50\%$", "$0.5$"): True,
    ("$50$", "$0.5$"): False,
    ("$(1,2)$", "$1,2$"): True,
}
seen = {pair: verify(parse(pair[0]), parse(pair[1])) for pair in expected}
for (gold, answer), equal in seen.items():
    print(f"gold {gold}, answer {answer}: {'equal' if equal else 'different'}")
assert seen == expected, "the behaviour has changed"
PYTHON
