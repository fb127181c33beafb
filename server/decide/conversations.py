"""The conversation of each turn: the one that its client names, or that its history shows.

A history shows a conversation by the answers in it that this gateway gave. Their keyed hashes are
remembered with the conversation and the effort of their turn, in memory that the workers share, and
in the ledger, for gateways that did not give them and after a restart. No text is kept.
"""

import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from router.conversation import opening_key
from router.effort import EFFORTS, Effort, rank
from server.api.answer_identity import answer_identities, response_identity
from server.api.request import ParsedRequest
from server.api.session import Session
from server.decide.turn_memory import Entry, TurnMemory

_SEVERAL = bytes(16)
_FOREIGN_SECONDS = 60
_LATEST_SECONDS = 10
"""For so long a remembered turn is the latest of its agent; then another gateway may have had a
later one. That matters where the history does not show it, as after a compaction."""
_ABANDONED_SECONDS = 600
"""Time after which a conversation that was not continued is no rival for its answer."""

HISTORY = "history"

Kind = Literal["answer", "agent"]
ArchivedTurn = tuple[int, str, Effort | None]
Archive = Callable[[Kind, Sequence[int]], Awaitable[Sequence[ArchivedTurn] | None]]
"""Finds turns in the ledger by hashes of answers or agents, latest first: hash, conversation and
effort of each; None while it cannot be read."""


class Thread(NamedTuple):
    """The conversation of one turn.

    Attributes:
        conversation: its id, 32 hexadecimal digits; a new one where the turn belongs to none.
        evidence: the field that names it, or `history`; None where the turn belongs to none.
        previous: the effort of the turns before; None where it is not known.
        agent: the key of the agent's memory; None where no client names the conversation.
        answer: the key of the answer that shows the conversation, where the history does.
        caller: the name of the API key.
    """

    conversation: str
    evidence: str | None = None
    previous: Effort | None = None
    agent: bytes | None = None
    answer: bytes | None = None
    caller: str = ""

    @property
    def affinity(self) -> str:
        """What engines' prefix caches share: equal for a conversation, and for equal openings."""
        return self.conversation[8:16]

    @property
    def agent_hash(self) -> int | None:
        """The agent in the ledger."""
        return None if self.agent is None else _stored(self.agent)


class _Shown(NamedTuple):
    """What the answers of a history show: a conversation by one answer, and an effort's rank."""

    conversation: bytes = _SEVERAL
    answer: bytes | None = None
    rank: int | None = None


_NOTHING = _Shown()


class Conversations:
    """Finds and remembers the conversations of turns.

    An answer that several conversations got, such as the answer to a greeting, shows the only one
    that may still be continued for the first time, or none of them; and of the efforts of their
    turns the lowest: nothing pins a turn but its own history.

    Args:
        key: secret bytes; another key makes other ids.
        memory: of the answers and agents.
        archive: the ledger's turns; None without a ledger.
        by_opening: whether equal openings get ids of equal affinity.
    """

    def __init__(
        self,
        key: bytes,
        memory: TurnMemory | None = None,
        archive: Archive | None = None,
        by_opening: bool = True,
    ) -> None:
        self._memory = memory or TurnMemory()
        self._archive = archive
        self._by_opening = by_opening
        self.set_key(key)

    def set_key(self, key: bytes) -> None:
        """Hash with another key from now on, which forgets what is remembered."""
        self._key = key[: hashlib.blake2b.MAX_KEY_SIZE]

    async def thread(self, request: ParsedRequest, caller: str) -> Thread:
        """The conversation of a request by the caller of this name."""
        shown = self._recall(self._answer_keys(request, caller))
        if shown is None and self._archive is not None:
            keys = [*self._answer_keys(request, caller)]
            shown = await self._find_in_archive(keys) if keys else None
        shown = shown or _NOTHING
        previous = None if shown.rank is None else EFFORTS[shown.rank]
        if request.session is not None:
            by_router = request.effort is None
            return await self._named(request.session, previous, shown.answer, caller, by_router)
        if shown.answer is not None:
            name = shown.conversation.hex()
            return Thread(name, HISTORY, previous, None, shown.answer, caller)
        return Thread(self._new_id(request, caller), None, previous, None, None, caller)

    def response_hash(self, caller: str, response_id: str) -> int:
        """The keyed hash of a response's id, which the ledger stores."""
        return _stored(self._digest("response", caller, response_id))

    async def named_conversation(self, session: Session, caller: str) -> str:
        """The id of the conversation that a client names."""
        return (await self._named(session, None, None, caller, by_router=False)).conversation

    def remember_turn(self, thread: Thread, effort: Effort | None) -> None:
        """Remember that a turn was taken, at an effort; None is the client's own choice."""
        if thread.agent is not None and effort is not None:
            conversation = bytes.fromhex(thread.conversation)
            self._memory.put(thread.agent, Entry(conversation, rank(effort)))
        if thread.answer is not None:
            entry = self._memory.get(thread.answer)
            if entry is not None and not entry.continued:
                self._memory.put(thread.answer, entry._replace(continued=True))

    def remember_answers(
        self, thread: Thread, effort: Effort | None, identities: Sequence[str]
    ) -> int | None:
        """Remember answers of a turn; the hash of the first for the ledger, None without any."""
        keys = [self._digest("answer", thread.caller, identity) for identity in identities]
        carried = effort or thread.previous
        entry = Entry(
            bytes.fromhex(thread.conversation), None if carried is None else rank(carried)
        )
        for key in keys:
            self._add(key, entry)
        return _stored(keys[0]) if keys else None

    def _answer_keys(self, request: ParsedRequest, caller: str) -> Iterator[bytes]:
        """The keys of the answers in a request's history, latest first."""
        if request.previous_response is not None:
            yield self._digest("answer", caller, response_identity(request.previous_response))
        for identity in answer_identities(request.messages, request.conversation.turns):
            yield self._digest("answer", caller, identity)

    def _recall(self, keys: Iterable[bytes]) -> _Shown | None:
        """What given answers show; None where none is known.

        Efforts only rise within a conversation, so the latest answer that shows one has its
        highest effort.
        """
        highest, is_known, conversation, answer = -1, False, _SEVERAL, None
        for key in keys:
            entry = self._memory.get(key)
            if entry is None or entry.foreign:
                continue
            is_known = True
            highest = max(highest, -1 if entry.rank is None else entry.rank)
            if answer is None and entry.conversation != _SEVERAL:
                conversation, answer = entry.conversation, key
            if answer is not None and highest >= 0:
                break
        if not is_known:
            return None
        return _Shown(conversation, answer, highest if highest >= 0 else None)

    async def _find_in_archive(self, keys: Sequence[bytes]) -> _Shown | None:
        """As `_recall`, after the answers that are in the ledger were added to the memory."""
        return self._recall(keys) if await self._import(keys) else None

    async def _import(self, keys: Sequence[bytes]) -> bool:
        """Add the ledger's answers under these keys to the memory; whether it was read."""
        expired = time.time() - _FOREIGN_SECONDS
        entries = {key: self._memory.get(key) for key in keys}
        unknown = [key for key, entry in entries.items() if entry is None or entry.at < expired]
        if not unknown or self._archive is None:
            return False
        by_hash = {_stored(key): key for key in unknown}
        turns = await self._archive("answer", [*by_hash])
        if turns is None:
            return False
        for key in unknown:
            self._memory.put(key, Entry(_SEVERAL, None, foreign=True))
        for stored, conversation, effort in turns:
            entry = Entry(bytes.fromhex(conversation), None if effort is None else rank(effort))
            self._add(by_hash[stored], entry)
        return True

    def _add(self, key: bytes, entry: Entry) -> None:
        former = self._memory.get(key)
        if former is not None and not former.foreign:
            lowest = (
                None if former.rank is None or entry.rank is None else min(former.rank, entry.rank)
            )
            is_over = former.continued or time.time() - former.at > _ABANDONED_SECONDS
            is_clear = is_over or former.conversation == entry.conversation
            entry = Entry(entry.conversation if is_clear else _SEVERAL, lowest)
        self._memory.put(key, entry)

    async def _named(
        self,
        session: Session,
        previous: Effort | None,
        answer: bytes | None,
        caller: str,
        by_router: bool,
    ) -> Thread:
        """The conversation that a client names; without a history, the agent's memory counts."""
        agent = self._digest("agent", caller, session.agent)
        latest = await self._latest(agent, is_needed=by_router and previous is None)
        if previous is None and latest is not None and latest.rank is not None:
            previous = EFFORTS[latest.rank]
        if latest is None and session.agent != session.root:  # the parent may be a sub-agent too
            root_agent = self._digest("agent", caller, session.root)
            latest = await self._latest(root_agent, is_needed=False)
        root = self._digest("conversation", caller, session.root)
        conversation = latest.conversation if latest else root
        return Thread(conversation.hex(), session.field, previous, agent, answer, caller)

    async def _latest(self, agent: bytes, is_needed: bool) -> Entry | None:
        """The latest turn of a named agent; None where it is not known.

        Args:
            agent: its key.
            is_needed: whether its effort counts, beside its conversation.
        """
        entry, read_key = self._memory.get(agent), agent[::-1]
        if self._archive is None or (entry is not None and not is_needed):
            return entry
        seconds = _FOREIGN_SECONDS if entry is None else _LATEST_SECONDS
        read = self._memory.get(read_key)
        is_new = entry is None and is_needed  # its first turn may be in the ledger by now
        if read is not None and not is_new and time.time() - read.at < seconds:
            return entry
        turns = await self._archive("agent", [_stored(agent)])
        if turns is None:
            return entry
        self._memory.put(read_key, Entry(_SEVERAL, None, foreign=True))
        for _, conversation, effort in turns:
            ranks = [entry and entry.rank, None if effort is None else rank(effort)]
            highest = max((number for number in ranks if number is not None), default=None)
            entry = Entry(bytes.fromhex(conversation), highest)
            self._memory.put(agent, entry)
        return entry

    def _new_id(self, request: ParsedRequest, caller: str) -> str:
        """A new id: the time in seconds, the affinity, and a random half.

        By the time, the ledger's index grows at its end.
        """
        shared = f"{random.getrandbits(32):08x}"
        if self._by_opening:
            shared = self._digest("opening", caller, opening_key(request.conversation))[:4].hex()
        return f"{int(time.time()):08x}{shared}{random.getrandbits(64):016x}"

    def _digest(self, *parts: str) -> bytes:
        data = "\0".join(parts).encode(errors="surrogatepass")
        return hashlib.blake2b(data, digest_size=16, key=self._key).digest()


def _stored(key: bytes) -> int:
    """The 64 bits of a key that the ledger stores, as a signed integer."""
    return int.from_bytes(key[:8], "big", signed=True)
