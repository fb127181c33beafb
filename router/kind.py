"""Kinds of traffic: the names of what shows them, and the hash of a system prompt.

A kind is the `kind` of outcome rows. `system:HASH`, `key:NAME`, `model:NAME`, `tools` and `json`
name what a request shows by itself; any other name is the operator's.
"""

import hashlib
import re
import unicodedata

from router.messages import ANSWERING_ROLES, Conversation

SYSTEM, KEY, MODEL = "system:", "key:", "model:"
"""What precedes a system prompt's hash, the name of an API key, and the requested model's name."""
TOOLS, JSON = "tools", "json"
SYSTEM_CHARACTERS = 16_384
"""The characters of a system prompt that count, from its beginning."""
_SOURCE = re.compile(r"(key|model):[^\x00-\x1f\x7f]{1,200}|system:[0-9a-f]{32}|tools|json")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")


def system_prompt(conversation: Conversation) -> str:
    """The texts of the messages that instruct, before anybody else speaks; "" without any."""
    texts: list[str] = []
    for turn in conversation.turns:
        if turn.role == "user" or turn.role in ANSWERING_ROLES:
            break
        texts.append(turn.text)
    return "\n".join(texts)[:SYSTEM_CHARACTERS]


def system_kind(prompt: str) -> str | None:
    """`system:HASH` of a system prompt; None for one without text.

    The hash has 128 bits. Letters of either case, white space and the values of numbers do not
    count, so that a date or a time leaves it unchanged.
    """
    text = " ".join(unicodedata.normalize("NFC", prompt[:SYSTEM_CHARACTERS]).split())
    if not text:
        return None
    data = _NUMBER.sub("#", text.casefold()).encode(errors="surrogatepass")
    return SYSTEM + hashlib.blake2b(data, digest_size=16).hexdigest()


def is_source(text: str) -> bool:
    """Whether a text names what a request can show by itself."""
    return _SOURCE.fullmatch(text) is not None
