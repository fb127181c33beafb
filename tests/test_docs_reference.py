"""The generated reference pages are up to date; troubleshooting covers what a user can meet."""

import re

from paths import ROOT

from docs.reference import errors
from docs.reference.code_texts import texts_of
from docs.reference.generate import pages
from server.config.api_key_settings import ApiKeySettings
from server.config.settings import Settings

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


MESSAGE_TABLE = re.compile(r"^\| message \|.*\n\| ---.*\n((?:\|.*\n)+)", re.MULTILINE)
REMEDY = re.compile(
    r"(?:^|[:;,.(] |\b(?:and|or|then|to) )"
    r"(?:add|allow|ask|choose|convert|download|fit|generate|give|have|install|keep|leave|limit|list|lower"
    r"|make|mend|move|name|pass|raise|remove|request|retry|run|save|see|send|serve|set|shorten"
    r"|start|state|take|train|try|upgrade|use|widen)\b"
    r"|\b(?:must|needs?|pip install)\b|\bexclude each other\b|: (?:not|only) with |, not …$",
    re.IGNORECASE,
)
"""How a message says what to do: an imperative, or what a value has to be."""


def _quotes() -> list[list[str]]:
    """The messages that troubleshooting quotes, each as the texts between its values."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    cells = [
        row.split(" | ")[0].removeprefix("| ").replace("`", "")
        for table in MESSAGE_TABLE.findall(page)
        for row in table.splitlines()
    ]
    prose = re.sub(r"`[^`]*`", "", MESSAGE_TABLE.sub("", page))
    emphasised = re.findall(r"(?<!\*)\*([^*|]+)\*(?!\*)", re.sub(r"\s+", " ", prose))
    quotes = [*emphasised, *(quote for cell in cells for quote in cell.split("; "))]
    return [_parts(quote) for quote in quotes]


def _parts(text: str) -> list[str]:
    """A message without its values."""
    return text.strip(" …:,").split(" … ")


def test_troubleshooting_quotes_messages_as_they_are() -> None:
    known = {*texts_of("server", "router", "models", "loadtest")}
    known |= {" ".join(text.split()).replace("`", "") for text in known if " " in text}
    known |= {text for texts in errors.messages_of_commands().values() for text in texts}
    quotes = _quotes()
    assert len(quotes) > 150
    assert [words for words in quotes if not any(_all_in(words, text) for text in known)] == []


def test_every_message_says_what_to_do_or_is_in_troubleshooting() -> None:
    """Errors with a code are answered by the section of that code."""
    answers = _quotes()
    long = [words for words in answers if len("".join(words)) > 8]
    messages = {*errors.error_messages()["BadRequest"], *errors.startup_messages()}
    messages |= {text for texts in errors.messages_of_commands().values() for text in texts}
    assert len(messages) > 300
    unanswered = [
        message
        for message in sorted(messages)
        if not REMEDY.search(message)
        and _parts(message) not in answers
        and not any(_all_in(words, message) for words in long)
    ]
    assert unanswered == []


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
