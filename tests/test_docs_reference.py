"""The generated reference pages are up to date; troubleshooting covers what a user can meet."""

import importlib.util
import re
from types import ModuleType

import pytest
from processes import ROOT

REFERENCE = ROOT / "docs" / "reference"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", REFERENCE / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _load()
PAGES: dict[str, str] = GENERATOR.pages()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    written = (REFERENCE / name).read_text()
    assert written == PAGES[name], "run: python docs/reference/generate.py"


def _troubleshooting() -> str:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    return re.sub(r"\s+", " ", text)


def test_troubleshooting_covers_every_error() -> None:
    text = _troubleshooting()
    for error in GENERATOR.error_classes():
        assert f"`{error.__name__}`" in text
        if error.code is not None:
            assert f"`{error.code}`" in text
        if error.__name__ != "EngineRefused":
            assert re.search(rf"#+ {error.status}\b", text), error.status


def test_troubleshooting_covers_every_abstention() -> None:
    text = _troubleshooting()
    reasons = GENERATOR.abstentions()
    assert len(reasons) >= 10
    assert [reason for reason in reasons if f"| {reason} |" not in text] == []


def test_troubleshooting_quotes_messages_as_they_are() -> None:
    prose = re.sub(r"`[^`]*`", "", _troubleshooting())
    quotes = re.findall(r"(?<!\*)\*([^*|]+)\*(?!\*)", prose)
    known = [*GENERATOR.texts_of("server", "router")]
    pieces = [quote.strip(" …").split(" … ") for quote in quotes]
    assert len(quotes) > 10
    assert [words for words in pieces if not any(_all_in(words, text) for text in known)] == []


def _all_in(words: list[str], text: str) -> bool:
    return all(part in text for part in words)


def test_every_error_has_its_messages() -> None:
    messages = GENERATOR.error_messages()
    for error in GENERATOR.error_classes():
        assert messages.get(error.__name__) or error.__name__ == "EngineRefused"
