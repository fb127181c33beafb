"""The generated reference pages are up to date; troubleshooting covers what a user can meet."""

import re
from pathlib import Path

from docs.reference import errors
from docs.reference.code_texts import texts_of
from docs.reference.generate import pages
from server.config.api_key_settings import ApiKeySettings
from server.config.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"


def test_the_generated_pages_are_what_the_code_says() -> None:
    outdated = [name for name, text in pages().items() if (REFERENCE / name).read_text() != text]
    assert outdated == [], "run: python docs/reference/generate.py"


def _troubleshooting() -> str:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    return re.sub(r"\s+", " ", text)


def test_troubleshooting_covers_every_error() -> None:
    text = _troubleshooting()
    for error in errors.error_classes():
        assert f"`{error.__name__}`" in text
        if error.code is not None:
            assert f"`{error.code}`" in text
        if error.__name__ != "EngineRefused":
            assert re.search(rf"#+ {error.status}\b", text), error.status


def test_troubleshooting_covers_every_abstention() -> None:
    text = _troubleshooting()
    reasons = errors.abstentions()
    assert len(reasons) >= 10
    assert [reason for reason in reasons if f"| {reason} |" not in text] == []


def test_troubleshooting_quotes_messages_as_they_are() -> None:
    prose = re.sub(r"`[^`]*`", "", _troubleshooting())
    quotes = re.findall(r"(?<!\*)\*([^*|]+)\*(?!\*)", prose)
    known = [*texts_of("server", "router")]
    pieces = [quote.strip(" …").split(" … ") for quote in quotes]
    assert len(quotes) > 10
    assert [words for words in pieces if not any(_all_in(words, text) for text in known)] == []


def _all_in(words: list[str], text: str) -> bool:
    return all(part in text for part in words)


def test_every_error_has_its_messages() -> None:
    messages = errors.error_messages()
    for error in errors.error_classes():
        assert messages.get(error.__name__) or error.__name__ == "EngineRefused"


def test_every_limit_is_on_the_page_of_limits() -> None:
    text = (REFERENCE / "limits.md").read_text()
    names = [*Settings.model_fields, *ApiKeySettings.model_fields]
    limits = [name for name in names if name.endswith("_timeout") or name.startswith("max_")]
    limits = [name for name in limits if name not in ("max_loss", "max_budget")]
    assert [name for name in limits if f"`{name}`" not in text] == []
