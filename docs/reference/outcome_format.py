"""The page on the outcome format: the reader itself says what it needs."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from docs.reference.markdown import page, table
from router.fitting.outcomes import OutcomeError, read_outcomes

_OUTCOMES = """\
The outcome table holds one judged generation per row. `tops generate` and `tops calibrate` write
it; `tops fit`, `tops audit`, `tops replay` and `tops calibrate` read it. It is the only format
between models and router, so outcomes from any source can be used.

A file has one JSON object per line and may be gzipped:"""

_PAIR = """\
The same rows may come as a CSV file with the fields as columns, `prompt` among them, or as a pair
of files, `NAME.outcomes.csv` and `NAME.problems.jsonl`, either of them gzipped. The CSV file then
has no prompts; the JSON Lines file has `problem_id`, `prompt` or `messages`, and `kind`. Under
another name or in another folder, name it beside the CSV file; `tops audit` needs no prompts.
`--model` chooses one model's rows where a file holds several.

A reader leaves out broken lines, repeated rows and rows without tokens or prompt, and reports how
many. It refuses a file of which more than a tenth of the lines are broken, files that mix weights,
and files of several models without `--model`.

The same commands read [the logs of evaluation tools](../guides/evaluation-logs.md)."""

_ROW: dict[str, tuple[object, str]] = {
    "problem_id": ("demo-17", "name of the problem; rows of one problem share it"),
    "prompt": ("Kim has 12 pens. ...", "the prompt, where it is one user message"),
    "messages": (None, "the conversation in OpenAI's form, where it is more than one message"),
    "answer": ("35", "the correct answer"),
    "model": ("demo", "name of the model"),
    "effort": ("low", "effort of the request; a log's own names of modes are accepted too"),
    "sample": (0, "number of the generation of this problem at this effort; default 0"),
    "correct": (1, "1 (or true) if the answer was judged correct, else 0 (or false)"),
    "tokens": (17, "completion tokens: thinking and answer"),
    "thinking_tokens": (
        6,
        "tokens inside the reasoning block; used instead of `tokens` where known",
    ),
    "response": ("The answer is 35.", "the visible answer, where responses are kept"),
    "reasoning": (None, "the text of the reasoning, where responses are kept"),
    "truncated": (False, "whether the generation ended at its token limit"),
    "weights": (None, "SHA-256 of the weights, where they are known"),
    "kind": (
        None,
        "[kind of traffic](../guides/kinds.md): `tops fit` learns what it adds, `tops audit` "
        "reports each by itself",
    ),
}


def text() -> str:
    row = {name: value for name, (value, _) in _ROW.items()}
    rows = [(f"`{name}`", _need(row, name), meaning) for name, (_, meaning) in _ROW.items()]
    return page(
        "Outcome format",
        _OUTCOMES,
        f"```json\n{json.dumps(row)}\n```",
        table(("field", "without it", "meaning"), rows),
        _PAIR,
    )


def _need(row: Mapping[str, object], name: str) -> str:
    """What the reader does with a row that lacks a field."""
    lacking = {field: value for field, value in row.items() if field != name}
    if name == "tokens":
        lacking.pop("thinking_tokens")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcomes.jsonl"
        whole = json.dumps({**row, "problem_id": "another"})
        file.write_text(f"{json.dumps(lacking)}\n{whole}\n{whole.replace('another', 'third')}\n")
        try:
            reading = read_outcomes([file])
        except OutcomeError:
            return "refused"
    if len(reading.outcomes) == 3:
        return "accepted"
    return "row left out"
