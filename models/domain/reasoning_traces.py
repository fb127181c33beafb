"""The reasoning that the demo model is taught: one written form for each effort.

`low` names the running totals only, `medium` writes one line a step, `high` works every step digit
by digit and checks it by the inverse operation; those two first say how many steps there are.
`none` does not think. Less effort also reaches less far: `low` and `medium` stop after `REACH`
steps and answer with what they have.
"""

import random

from models.domain.stories import Step, Story

EFFORTS = ("none", "low", "medium", "high")
"""The demo model's ladder, cheapest first."""

REACH = {"low": 4, "medium": 9}
"""The most steps that an effort takes; `high` takes all of them."""

_NUMBERS = ("", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")

TRANSITION = "\nTime is up, so I answer with what I have.\n"
"""Closes a reasoning block that ran into its budget; our own wording."""


def trace(
    story: Story,
    effort: str,
    slips: float = 0,
    rng: random.Random | None = None,
    announced: bool = True,
) -> str:
    """The text inside the reasoning block for a story at an effort; empty for `none`.

    `high` is `announced` by its first word. A base that knows that word from every third story
    hardly learns to write it for a tag alone: it is taught the forms without.

    Of the sums worked digit by digit, a share of `slips` goes wrong first, drawn from `rng`: its
    check shows that, and the step is worked again.
    """
    if effort == "none":
        return ""
    steps = story.steps[: REACH.get(effort)]
    if effort == "low":
        return " ".join(str(step.total) for step in steps)
    count = len(story.steps)
    written = [f"{_NUMBERS[count]} step{'s' * (count > 1)}."]
    if effort == "medium":
        return "\n".join([*written, *(_line(step) for step in steps)])
    if announced:
        written[0] = f"Check. {written[0]}"
    for step in steps:
        if rng is not None and step.symbol != "*" and rng.random() < slips:
            written.append(_slipped(step, rng))
        written.append(_worked(step))
    return "\n".join(written)


def answer_text(story: Story, effort: str = "high") -> str:
    """The visible answer: where an effort reaches not so far, the last total that it has."""
    return f"The answer is {story.steps[: REACH.get(effort)][-1].total}."


def _line(step: Step) -> str:
    return f"{step.before}{step.symbol}{step.operand}={step.total}"


def _worked(step: Step) -> str:
    columns = " ".join(_multiply(step) if step.symbol == "*" else _columns(step))
    return f"{step.before}{step.symbol}{step.operand}: {columns} so {step.total}. {_check(step)}"


def _slipped(step: Step, rng: random.Random) -> str:
    """A sum with one column wrong; its check, itself right, does not give the number before."""
    columns = _columns(step)
    at = rng.randrange(len(columns))
    task, _, right = columns[at].partition("=")
    off = 1 if right.endswith("0") else -1 if right.endswith("9") else rng.choice((-1, 1))
    columns[at] = f"{task}={int(right) + off}"
    wrong = off * 10**at
    seen = Step(step.symbol, step.operand, step.before + wrong, step.total + wrong)
    said = f"{step.before}{step.symbol}{step.operand}: {' '.join(columns)} so {seen.total}."
    return f"{said} {_check(seen)}. Wrong, again."


def _columns(step: Step) -> list[str]:
    """Column addition or subtraction from the units up, carry or borrow written out."""
    sign = 1 if step.symbol == "+" else -1
    width = max(len(str(step.before)), len(str(step.operand)))
    carry = 0
    lines: list[str] = []
    for top, bottom in zip(_digits(step.before, width), _digits(step.operand, width), strict=True):
        term = f"{step.symbol}{carry}" if carry else ""
        value = top + sign * (bottom + carry)
        borrow = value < 0
        lines.append(f"{top + 10 * borrow}{step.symbol}{bottom}{term}={value + 10 * borrow}")
        carry = int(borrow) if sign < 0 else value // 10
    return lines


def _multiply(step: Step) -> list[str]:
    carry = 0
    lines: list[str] = []
    for digit in _digits(step.before, len(str(step.before))):
        value = digit * step.operand + carry
        lines.append(f"{digit}*{step.operand}{f'+{carry}' if carry else ''}={value}")
        carry = value // 10
    return lines


def _digits(number: int, width: int) -> list[int]:
    """Digits from the units up."""
    return [int(digit) for digit in reversed(str(number).zfill(width))]


def _check(step: Step) -> str:
    inverse = {"+": "-", "-": "+", "*": "/"}[step.symbol]
    return f"Check {step.total}{inverse}{step.operand}={step.before}"
