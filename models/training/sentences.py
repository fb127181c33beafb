"""Sentences of a reasoning, which are the steps that a critic and the arithmetic judge."""

import re

Span = list[int]
"""The [start, end) characters of a text."""

_END = re.compile(
    r"[.!?\u2026][\"'\u201d\u2019)\]*_]*(?=\s+[^\sa-z])"
    r"|[\u3002\uff01\uff1f][\u201d\u300d\u300f]?"  # Chinese and Japanese
)
"""The end of a sentence within a line: what follows does not begin with a small letter."""

_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Prof|No|Fig|Eq|vs|etc|approx|ca|cf|e\.g|i\.e|resp|\d+)\.$"
)
"""What a point may end without ending the sentence; a number counts at the start of a line only."""


def sentences(text: str) -> list[Span]:
    """Spans of the sentences, without the spaces around them; a line break always ends one."""
    spans: list[Span] = []
    line_start = 0
    for line in text.split("\n"):
        start = 0
        for match in _END.finditer(line):
            head = line[start : match.end()]
            abbreviation = _ABBREVIATION.search(head)
            if abbreviation and (
                not abbreviation[0].strip(" (.").isdigit()
                or head.strip() == abbreviation[0].strip()
            ):
                continue
            _append(spans, line, start, match.end(), line_start)
            start = match.end()
        _append(spans, line, start, len(line), line_start)
        line_start += len(line) + 1
    return spans


def _append(spans: list[Span], line: str, start: int, end: int, offset: int) -> None:
    part = line[start:end]
    if part.strip():
        spans.append(
            [
                offset + start + len(part) - len(part.lstrip()),
                offset + end - len(part) + len(part.rstrip()),
            ]
        )
