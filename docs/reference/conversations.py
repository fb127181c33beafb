"""The page on conversations, from the table of their names."""

from docs.reference.markdown import page, table
from server.api.session import BODY_FIELDS, HEADERS, Source

_CONVERSATIONS = """\
A request belongs to a conversation where its client names one, or where its history contains an
answer that this gateway gave under the same API key. Nothing else makes a conversation: not
equal openings, not few-shot examples, not the system prompt."""

_CONVERSATION_EFFECTS = """\
- **Effort.** Within a conversation it only rises, and a tool loop keeps its effort. What counts
  are the turns of the request's own history. Where the history shows none, as after it was
  compacted, the last turn of the named conversation counts. A sub-agent has its own memory.
- **Arm.** All requests of a conversation are in one [arm](../guides/measure-savings.md), those of
  its sub-agents too, and `tops savings` counts them as one cluster. A request without a
  conversation is drawn by itself.
- **Engine.** With several engines, a conversation stays with one, whose prefix cache contains it.
  Each request to an engine has the id of its conversation as `x-session-id`, by which a router in
  between may choose.

`POST /v1/route` shows in `conversation` what a request belongs to: the field that names it,
`history`, or null. It draws no arm for a request without a conversation."""

_CONVERSATION_NAMES = """\
The first of these that a request has counts, headers before body fields. The *agent* header
names a sub-agent within the conversation. Where a *parent* header is present, it names the
conversation, and the field the agent."""

_CONVERSATION_FORMAT = """\
A name has 1 to 256 letters, digits or any of `._:/@+=~|-`. It counts within its API key, and
only a keyed hash of it is stored. In the gateway's own header a malformed name is refused with a
400. In all other fields it is ignored, as are words for nothing (`null`, `undefined`, `unknown`,
`default`); the next field counts.

`prompt_cache_key` counts only if it looks random (a UUID of version 4 or 7, or 20 letters and
digits, well mixed), since many applications send a constant. `x-client-request-id`, `user` and
`safety_identifier` do not count: they name a request or a person."""

_CONVERSATION_HISTORY = """\
An answer is recognised by its first 128 characters without thoughts and surrounding space, so a
history may be cut at its beginning, and its last answer at its end. An answer of fewer than 64
characters ("Yes.") is recognised only after the question that it answered. An answer without
text is recognised by the id of its tool call. In the Responses API, `previous_response_id` names
the answer.

If several conversations got the same answer to the same question, such as "Hi", within ten
minutes, it shows the one that was not continued yet, or none. Streams with `n` above 1 are not
recognised. If your conversations often begin alike, name them."""

_CONVERSATION_MEMORY = """\
The memory has room for 262,144 answers and named agents, and is shared by the workers of a
gateway. What is not in it is looked up in the [ledger](../guides/measure-savings.md), by keyed
hashes. So a conversation keeps its arm and its effort after a restart, and on each gateway with
the same ledger, from a quarter of a second after the answer. With separate ledgers and the same
`hash_key`, a conversation that its client names has the same arm everywhere."""


def text() -> str:
    return page(
        "Conversations",
        _CONVERSATIONS,
        "## What follows from it",
        _CONVERSATION_EFFECTS,
        "## Names",
        _CONVERSATION_NAMES,
        table(
            ("field", "sent by", "agent", "parent"),
            [_source_row("header", source) for source in HEADERS]
            + [_source_row("body field", source) for source in BODY_FIELDS],
        ),
        _CONVERSATION_FORMAT,
        "## Histories",
        _CONVERSATION_HISTORY,
        "## Memory",
        _CONVERSATION_MEMORY,
    )


def _source_row(place: str, source: Source) -> tuple[str, ...]:
    names = (source.agent, source.parent)
    return (
        f"{place} `{source.field}`",
        source.clients,
        *(f"`{name}`" if name else "-" for name in names),
    )
