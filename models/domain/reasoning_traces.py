"""The reasoning that the demo model learns: one written form for each effort.

`low` writes the running totals only, `medium` one line per step, `high` every step digit by digit
with a check by the inverse operation; `medium` and `high` begin with the number of steps. `none`
does not think. A lower effort also solves shorter stories only: `low` and `medium` stop after
`REACH` steps and answer with the total they have.
"""

import random

from models.domain.stories import Step, Story

EFFORTS = ("none", "low", "medium", "high")
"""The demo model's efforts, cheapest first."""

REACH = {"low": 4, "medium": 9}
"""The largest number of steps that an effort writes; `high` writes all of them."""

_NUMBERS = ("", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")

TRANSITION = "\nTime is up, so I answer with what I have.\n"
"""The sentence that closes a reasoning block which reached its budget."""


def trace(
    story: Story,
    effort: str,
    slips: float = 0,
    rng: random.Random | None = None,
    announced: bool = True,
) -> str:
    """The text inside the reasoning block for a story at an effort; empty for `none`.

    Args:
        story: the story to solve.
        effort: the written form.
        slips: the share of the sums of `high` that are wrong at first; the check shows it, and the
            step is worked again.
        rng: draws the slips.
        announced: whether `high` begins with its own word. A base that has seen the word in every
            third story hardly learns to write it for a tag only (models/LOG.md), so a base from
            scratch learns the form without it.
    """
    if effort == "none":
        return ""
    steps = story.steps[: REACH.get(effort)]
    if effort == "low":
        return " ".join(str(step.total) for step in steps)
    count = len(story.steps)
    lines = [f"{_NUMBERS[count]} step{'s' * (count > 1)}."]
    if effort == "medium":
        return "\n".join([*lines, *(_equation(step) for step in steps)])
    if announced:
        lines[0] = f"Check. {lines[0]}"
    for step in steps:
        if rng is not None and step.symbol != "*" and rng.random() < slips:
            lines.append(_slip(step, rng))
        lines.append(_worked(step))
    return "\n".join(lines)


def answer_text(story: Story, effort: str = "high") -> str:
    """The visible answer: the total after the effort's last step."""
    return f"The answer is {story.steps[: REACH.get(effort)][-1].total}."


def _equation(step: Step) -> str:
    return f"{step.before}{step.symbol}{step.operand}={step.total}"


def _worked(step: Step) -> str:
    columns = " ".join(_multiply(step) if step.symbol == "*" else _columns(step))
    return f"{step.before}{step.symbol}{step.operand}: {columns} so {step.total}. {_check(step)}"


def _slip(step: Step, rng: random.Random) -> str:
    """A sum with one wrong column, and a check that is right and so gives another number."""
    columns = _columns(step)
    index = rng.randrange(len(columns))
    task, _, digit = columns[index].partition("=")
    error = 1 if digit.endswith("0") else -1 if digit.endswith("9") else rng.choice((-1, 1))
    columns[index] = f"{task}={int(digit) + error}"
    difference = error * 10**index
    wrong = Step(step.symbol, step.operand, step.before + difference, step.total + difference)
    line = f"{step.before}{step.symbol}{step.operand}: {' '.join(columns)} so {wrong.total}."
    return f"{line} {_check(wrong)}. Wrong, again."


def _columns(step: Step) -> list[str]:
    """Column addition or subtraction from the units up, with the carry or borrow written out."""
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
    """The digits of a number from the units up, padded with zeros."""
    return [int(digit) for digit in reversed(str(number).zfill(width))]


def _check(step: Step) -> str:
    inverse = {"+": "-", "-": "+", "*": "/"}[step.symbol]
    return f"Check {step.total}{inverse}{step.operand}={step.before}"
