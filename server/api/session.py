"""The conversation that a client names, in the headers and body fields that clients use for it.

A name is an opaque id. Those of fields that belong to clients are ignored where they are malformed
or say nothing ("undefined"); the gateway's own header is refused then. `x-client-request-id` names
a request in some clients, `user` and `safety_identifier` a person: none of them is read.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

import orjson

from server.errors import BadRequest
from server.http.json_codec import shown

CONVERSATION_HEADER = "x-tops-conversation"

_VALID = re.compile(r"[A-Za-z0-9._:/@+=~|-]{1,256}")
_EMPTY_NAMES = frozenset(
    [
        "null",
        "undefined",
        "none",
        "nan",
        "nil",
        "unknown",
        "default",
        "new",
        "true",
        "false",
        "local",
        "anonymous",
        "session",
        "temp",
        "empty",
        "0",
    ]
)
_ONE_CHARACTER = re.compile(r"[^A-Za-z0-9]*|([0fF])(?:-?\1){7,}")
"""Punctuation, and ids that stand for none, such as the UUID of zeros."""
_UUID = re.compile(
    r"(?<![0-9a-f])[0-9a-f]{8}-?[0-9a-f]{4}-?[47][0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}"
    r"(?![0-9a-f])",
    re.IGNORECASE,
)
"""Random or time-ordered (versions 4 and 7); the others are computed from a name or a machine."""
_RANDOM_RUN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{20,40}(?![A-Za-z0-9])")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_MIXED = re.compile(r"\d(?=[A-Za-z])|[A-Za-z](?=\d)")
_MIN_CHANGES = 4
"""Changes between letters and digits; words with a year or a version have fewer."""
_MIN_DISTINCT = 8
_CLAUDE_USER_ID = re.compile(r"user_.*_session_([A-Za-z0-9-]+)", re.DOTALL)
_BAGGAGE_KEYS = ("session.id", "session_id", "gen_ai.conversation.id")


class Session(NamedTuple):
    """A conversation that its client names.

    Attributes:
        root: the conversation; sub-agents share it.
        agent: the agent within it, which equals `root` for the main agent.
        field: the header or body field that names it.
    """

    root: str
    agent: str
    field: str


class Source(NamedTuple):
    """A header or a body field that names conversations.

    Attributes:
        field: its name; `a.b` is the field b of the object a.
        clients: those that send it.
        agent: a header that names the sub-agent within the conversation.
        parent: a header that names the conversation in requests of sub-agents, whose `field` is
            their own.
        read: the name in the field's value.
    """

    field: str
    clients: str
    agent: str | None = None
    parent: str | None = None
    read: Callable[[object], object] = lambda value: value


def looks_unique(name: str) -> bool:
    """Whether an id looks drawn at random: a UUID, or 20 letters and digits or more, well mixed.

    Hexadecimal digits alone do not, since hashes of constants look the same.
    """
    if any(len(set(uuid.lower())) >= _MIN_DISTINCT for uuid in _UUID.findall(name)):
        return True
    return any(
        len(_MIXED.findall(run)) >= _MIN_CHANGES and not _HEXADECIMAL.fullmatch(run)
        for run in _RANDOM_RUN.findall(name)
    )


def _unique(value: object) -> object:
    return value if isinstance(value, str) and looks_unique(value) else None


def _session_of_user_id(value: object) -> object:
    """The session in the `metadata.user_id` of Claude Code: a JSON object, or a suffix."""
    if not isinstance(value, str):
        return None
    if value.startswith("{"):
        try:
            parts = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
        return cast("dict[str, Any]", parts).get("session_id") if isinstance(parts, dict) else None
    suffix = _CLAUDE_USER_ID.fullmatch(value)
    return suffix and suffix[1]


def _id_of_object(value: object) -> object:
    """The id of an object, or the value itself: the Responses API accepts either."""
    return cast("dict[str, Any]", value).get("id") if isinstance(value, dict) else value


def _baggage_member(value: object) -> object:
    """The session in a W3C baggage header."""
    members = (member.partition("=") for member in str(value).split(","))
    named = {key.strip(): unquote(text.partition(";")[0].strip()) for key, _, text in members}
    return next((named[key] for key in _BAGGAGE_KEYS if key in named), None)


_PARENT = "x-parent-session-id"

HEADERS = (
    Source(CONVERSATION_HEADER, "any client of this gateway"),
    Source("x-claude-code-session-id", "Claude Code", agent="x-claude-code-agent-id"),
    Source("session-id", "Codex", agent="thread-id"),
    Source("thread-id", "Codex", parent="x-codex-parent-thread-id"),
    Source("session_id", "Codex before 2026, pi"),
    Source("x-opencode-session", "OpenCode", parent=_PARENT),
    Source("x-session-affinity", "OpenCode, pi", parent=_PARENT),
    Source("x-session-id", "OpenCode, pi, Crush, OpenRouter's SDKs", parent=_PARENT),
    Source("x-client-session-id", "Copilot CLI"),
    Source("x-kilocode-taskid", "Kilo Code"),
    Source("x-mux-workspace-id", "Mux"),
    Source("x-amp-thread-id", "Amp"),
    Source("x-openwebui-chat-id", "Open WebUI with ENABLE_FORWARD_USER_INFO_HEADERS"),
    Source("x-litellm-session-id", "LiteLLM, OpenHands"),
    Source("x-conversation-id", "LibreChat and others, where configured"),
    Source("baggage", "LiteLLM and others with OpenTelemetry", read=_baggage_member),
)
"""Headers, in the order in which they count."""

BODY_FIELDS = (
    Source("metadata.user_id", "Claude Code", read=_session_of_user_id),
    Source("conversation", "the Responses API", read=_id_of_object),
    Source("session_id", "OpenRouter's SDKs"),
    Source("litellm_session_id", "LiteLLM"),
    Source("metadata.session_id", "LiteLLM, LangSmith"),
    Source("metadata.conversation_id", "LangSmith"),
    Source("metadata.thread_id", "LangSmith"),
    Source("prompt_cache_key", "Codex, OpenCode, pi, where it looks unique", read=_unique),
)
"""Body fields, in the order in which they count, after all headers."""

_HEADER_NAMES = frozenset(
    name for source in HEADERS for name in (source.field, source.agent, source.parent) if name
)
BODY_NAMES = frozenset(source.field.partition(".")[0] for source in BODY_FIELDS)
"""The body's own fields that may name a conversation, or have a field that does."""


def named_session(headers: Mapping[str, str], body: Mapping[str, Any]) -> Session | None:
    """The conversation that a request names; None where it names none.

    Args:
        headers: the request's, with names in lower case.
        body: the request's JSON object.

    Raises:
        BadRequest: the gateway's own header is malformed.
    """
    if not _HEADER_NAMES.isdisjoint(headers):
        if (own := headers.get(CONVERSATION_HEADER)) is not None:
            _check_own(own)
            return Session(own, own, CONVERSATION_HEADER)
        for source in HEADERS:
            if source.field in headers and (session := _session(source, headers)):
                return session
    if not BODY_NAMES.isdisjoint(body):
        for source in BODY_FIELDS:
            if name := _valid(source.read(_value(body, source.field))):
                return Session(name, name, source.field)
    return None


def _session(source: Source, headers: Mapping[str, str]) -> Session | None:
    name = _valid(source.read(headers[source.field]))
    if name is None:
        return None
    agent = _valid(headers.get(source.agent or ""))
    if agent is not None and agent != name:
        return Session(name, f"{name} {agent}", source.field)
    parent = _valid(headers.get(source.parent or ""))
    return Session(parent or name, name, source.field)


def _valid(name: object) -> str | None:
    """The name, unless it is malformed or stands for none."""
    if not isinstance(name, str) or not _VALID.fullmatch(name) or name.lower() in _EMPTY_NAMES:
        return None
    return None if _ONE_CHARACTER.fullmatch(name) else name


def _value(body: Mapping[str, Any], field: str) -> object:
    owner, _, name = field.rpartition(".")
    if not owner:
        return body.get(name)
    value: object = body.get(owner)
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _check_own(name: str) -> None:
    if not _VALID.fullmatch(name):
        raise BadRequest(
            f"header {CONVERSATION_HEADER} must be 1 to 256 letters, digits or any of "
            f"._:/@+=~|-, not {shown(name)}",
            CONVERSATION_HEADER,
        )
