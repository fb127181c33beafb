"""`reasoning_config.json` of a checkpoint: the texts that begin and end a reasoning block."""

import json
from pathlib import Path
from typing import cast

from server.config.load_settings import SettingsError

_FIELDS = ("reasoning_start_str", "reasoning_end_str")


def read_reasoning_config(folder: Path) -> dict[str, str] | None:
    """The file's fields; None where the folder has no such file.

    Raises:
        SettingsError: the file is no JSON object with both texts.
    """
    file = folder / "reasoning_config.json"
    if not file.is_file():
        return None
    try:
        fields: object = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file} cannot be read ({error}): {_expected()}") from error
    if not isinstance(fields, dict):
        raise SettingsError(f"{file} is no JSON object: {_expected()}")
    texts = cast("dict[str, object]", fields)
    for name in _FIELDS:
        if not isinstance(texts.get(name), str) or not texts[name]:
            raise SettingsError(f"{file} has no text {name}: {_expected()}")
    return cast("dict[str, str]", texts)


def _expected() -> str:
    return f"it must be a JSON object with the texts {' and '.join(_FIELDS)}"
