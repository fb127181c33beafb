"""Write the reference pages that follow from the code: python docs/reference/generate.py.

`pages` returns them by file name; tests/test_docs_reference.py compares them with the files here.
Each page has a module beside this one, which holds the texts that no code holds: what the page is
for, what a field means.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FOLDER = Path(__file__).resolve().parent
# this folder's names are those of pages
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry).resolve() != _FOLDER)]

from docs.reference import (  # noqa: E402 - the path comes first
    cli,
    conversations,
    dialects,
    errors,
    limits,
    metrics,
    outcome_format,
    settings,
)

_PAGES = {
    "settings.md": settings,
    "cli.md": cli,
    "metrics.md": metrics,
    "dialects.md": dialects,
    "conversations.md": conversations,
    "errors.md": errors,
    "limits.md": limits,
    "outcome-format.md": outcome_format,
}


def pages() -> dict[str, str]:
    """Every generated page, by file name."""
    return {name: module.text() for name, module in _PAGES.items()}


def main() -> None:
    """Write the pages that changed."""
    for name, text in pages().items():
        file = Path(__file__).with_name(name)
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            print(f"written: {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
