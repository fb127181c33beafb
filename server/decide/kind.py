"""The kind of traffic of a request: the most specific of those that it shows and the router knows.

From the most specific on: its system prompt, its API key, the model's name, tools, a JSON format.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

from router.kind import (
    JSON,
    KEY,
    MODEL,
    SYSTEM,
    TOOLS,
    is_source,
    system_kind,
    system_prompt,
)
from router.messages import Conversation
from server.api.request import ParsedRequest
from server.api_keys import Caller
from server.config.kind_settings import KindSettings
from server.config.settings import Settings
from server.engines.model_info import ModelInfo

_MAX_SYSTEM_PROMPTS = 1024
_JSON_FORMATS = ("json_object", "json_schema")


class Kinds:
    """Finds the kinds of requests.

    Args:
        settings: the operator's kinds.
        fitted: the kinds that the router knows.
    """

    def __init__(
        self, settings: Sequence[KindSettings] = (), fitted: Collection[str | None] = ()
    ) -> None:
        self._fitted = frozenset(kind for kind in fitted if kind is not None)
        self._names = {kind: kind for kind in self._fitted}
        for kind in settings:
            for source in kind.match:
                if kind.name in self._fitted or source not in self._fitted:
                    self._names[source] = kind.name
        self._reads_system = any(source.startswith(SYSTEM) for source in self._names)
        self._system_kinds: dict[bytes, str | None] = {}

    def find(self, request: ParsedRequest, caller: Caller, model: ModelInfo) -> str | None:
        """The first kind that the router knows, else the first of the settings', if any."""
        if not self._names:
            return None
        configured: str | None = None
        for source in self._sources(request, caller, model, self._reads_system):
            kind = self._names.get(source)
            if kind in self._fitted:
                return kind
            configured = configured or kind
        return configured

    def sources(self, request: ParsedRequest, caller: Caller, model: ModelInfo) -> list[str]:
        """All that a request shows, the most specific first."""
        return [*self._sources(request, caller, model)]

    def _sources(
        self,
        request: ParsedRequest,
        caller: Caller,
        model: ModelInfo,
        reads_system: bool = True,
    ) -> Iterator[str]:
        if reads_system:
            system = self._system_kind(request.conversation)
            if system is not None:
                yield system
        yield KEY + caller.name
        if request.model is not None:
            yield MODEL + model.base_name(request.model)
        if _has_tools(request.body):
            yield TOOLS
        if _wants_json(request.body):
            yield JSON

    def _system_kind(self, conversation: Conversation) -> str | None:
        """`router.kind.system_kind`, remembered by a hash, which takes a tenth of the time."""
        prompt = system_prompt(conversation)
        if not prompt:
            return None
        key = hashlib.blake2b(prompt.encode(errors="surrogatepass"), digest_size=16).digest()
        if key in self._system_kinds:
            return self._system_kinds[key]
        if len(self._system_kinds) >= _MAX_SYSTEM_PROMPTS:
            self._system_kinds.clear()
        kind = self._system_kinds[key] = system_kind(prompt)
        return kind


def unreachable(settings: Settings, fitted: Collection[str | None]) -> list[str]:
    """The kinds that the router knows and that no request of this gateway can show."""
    shown = {kind.name for kind in settings.kinds}
    shown |= {KEY + key.name for key in settings.keys}
    shown |= {MODEL + name for name in (*settings.aliases, settings.model) if name is not None}
    names = [kind for kind in fitted if kind is not None and kind not in shown]
    if settings.model is None:  # that of the engine, which is not known yet
        names = [kind for kind in names if not kind.startswith(MODEL)]
    return [kind for kind in names if kind.startswith((KEY, MODEL)) or not is_source(kind)]


def _has_tools(body: dict[str, Any]) -> bool:
    return any(isinstance(body.get(name), list) and body[name] for name in ("tools", "functions"))


def _wants_json(body: dict[str, Any]) -> bool:
    """Whether a format is asked for by a field of Chat Completions, Responses or Messages."""
    formats = (
        body.get("response_format"),
        _field(body.get("text"), "format"),
        _field(body.get("output_config"), "format"),
        body.get("output_format"),
    )
    return any(_field(value, "type") in _JSON_FORMATS for value in formats)


def _field(value: object, name: str) -> object:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
