"""Conversations: what shows one, what pins a turn, and what does neither."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from dialogue import Dialogues, assistant, user
from test_server_decision import ROUTED

from server.api import messages, responses
from server.api.answer_identity import given_identities, response_identity
from server.api.session import Session
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.conversations import Conversations, Kind, Thread
from server.decide.decider import Decider
from server.decide.turn_memory import Entry, TurnMemory

HARD, EASY = (
    user("a hard plan"),
    user("something new that is long enough to be routed alone, truly"),
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
LONG = "First, I will list the tables of the billing database; then I copy them one by one."
CLOCK = "You are helpful. The time is 12:0{}."


def dialogues(conversations: Conversations | None = None) -> Dialogues:
    return Dialogues(Decider(Settings(), ROUTED), conversations)


class Clock:
    """The time by which turns are remembered, in Unix seconds."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("server.decide.turn_memory.time.time", lambda: clock.now)
    return clock


def test_effort_only_rises_within_a_conversation_and_stays_in_a_tool_loop() -> None:
    talk = dialogues()
    assert talk.turn([HARD], "a plan").effort == "high"
    later = [HARD, assistant("a plan"), EASY]
    followed = talk.turn(later)
    assert (followed.effort, followed.source) == ("high", "pinned")
    assert followed.reason == "effort only rises within a conversation, which had high before"
    assert talk.turn(later, reasoning_effort="low").effort == "low"
    calling = assistant(None, tool_calls=[CALL])
    assert talk.turn([EASY], calling).effort == "medium"
    looped = talk.turn([EASY, calling, {"role": "tool", "content": "hard"}])
    assert (looped.effort, looped.source) == ("medium", "pinned")
    assert talk.turn([EASY]).source == "router"


def test_a_conversation_belongs_to_its_api_key() -> None:
    talk = dialogues()
    talk.turn([HARD], LONG, Caller("a"))
    later = [HARD, assistant(LONG), EASY]
    assert talk.turn(later, caller=Caller("a")).source == "pinned"
    assert talk.turn(later, caller=Caller("b")).source == "router"
    named = {"x-session-id": "s"}
    threads = [talk.thread([HARD], Caller(name), named).conversation for name in ("a", "b", "a")]
    assert threads[0] == threads[2] != threads[1]


@pytest.mark.parametrize("by_opening", [False, True])
def test_ids_begin_with_the_time(by_opening: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an index of a ledger grows at its end."""
    conversations = Conversations(b"key", by_opening=by_opening)
    talk, now = dialogues(conversations), time.time()
    ids: list[str] = []
    for seconds in range(20):
        monkeypatch.setattr(time, "time", lambda at=now + seconds: at)
        ids.append(talk.thread([HARD]).conversation)
    assert sorted(ids) == ids
    assert {len(name) for name in ids} == {32}


def test_few_shot_examples_are_no_conversation() -> None:
    talk = dialogues()
    shots = [user("2 + 2?"), assistant("4"), user("3 + 3?"), assistant(LONG)]
    assert talk.turn([*shots, HARD], "a plan").effort == "high"
    again = talk.turn([*shots, EASY], "sure")
    assert (again.effort, again.source) == ("medium", "router")
    assert talk.thread([*shots, EASY]).evidence is None
    threads = [talk.thread([*shots, EASY]) for _ in range(9)]
    assert len({thread.conversation for thread in threads}) == 9
    assert len({thread.affinity for thread in threads}) == 1, "the prefix cache serves them all"
    assert talk.thread([HARD]).affinity != threads[0].affinity
    continued = [*shots, HARD, assistant("a plan"), EASY]
    assert talk.turn(continued).source == "pinned"


def test_an_example_with_the_words_of_an_answer_is_none() -> None:
    """A short answer counts only after the question that it was given to."""
    talk = dialogues()
    talk.turn([HARD], "4")
    assert talk.turn([user("2 + 2?"), assistant("4"), EASY]).source == "router"
    assert talk.turn([HARD, assistant("4"), EASY]).source == "pinned"


def test_two_users_who_begin_alike_share_nothing() -> None:
    talk = dialogues()
    hi = [user("Hi"), assistant("Hello! How can I help?")]
    assert {talk.turn(hi[:1], "Hello! How can I help?").effort for _ in range(2)} == {"medium"}
    first = [*hi, HARD, assistant("a plan"), EASY]
    assert talk.turn(first[:3], "a plan").effort == "high"
    assert talk.turn(first).source == "pinned"
    second = talk.turn([*hi, EASY], "sure")
    assert (second.effort, second.source) == ("medium", "router")
    assert talk.thread([*hi, EASY]).evidence is None, "both were greeted so: it shows neither"
    assert talk.thread(first).evidence == "history"


def test_equal_dialogues_one_after_the_other_are_conversations_of_their_own() -> None:
    talk = dialogues()
    later = [HARD, assistant("a plan"), EASY]
    ids: set[str] = set()
    for _ in range(4):
        talk.turn([HARD], "a plan")
        begun = talk.thread(later)
        assert begun.evidence == "history"
        assert talk.turn(later, "sure").source == "pinned"
        end = talk.thread([*later, assistant("sure"), user("and?")])
        assert end.conversation == begun.conversation
        ids.add(end.conversation)
    assert len(ids) == 4


def test_a_conversation_that_nobody_continues_is_no_rival(clock: Clock) -> None:
    talk = dialogues()
    later = [HARD, assistant("a plan"), EASY]
    talk.turn([HARD], "a plan")
    clock.now += 30
    talk.turn([HARD], "a plan")
    assert talk.thread(later).evidence is None
    assert talk.turn(later).source == "pinned", "both had the same effort"
    clock.now += 700
    talk.turn([HARD], "a plan")
    assert talk.thread(later).evidence == "history"


def test_an_answer_that_a_long_conversation_and_a_new_one_got_pins_neither_high() -> None:
    talk = dialogues()
    thanks = [user("thanks"), assistant("You are welcome!")]
    talk.turn([HARD], "a plan")
    assert talk.turn([HARD, assistant("a plan"), thanks[0]], "You are welcome!").effort == "high"
    talk.turn(thanks[:1], "You are welcome!")
    assert talk.turn([*thanks, EASY]).effort == "medium"
    long = [HARD, assistant("a plan"), *thanks, EASY]
    assert talk.turn(long).effort == "high", "its own earlier turn was hard"


def test_a_clock_in_the_system_prompt_changes_nothing() -> None:
    talk = dialogues()
    system = [{"role": "system", "content": CLOCK.format(minute)} for minute in range(2)]
    talk.turn([system[0], HARD], "a plan")
    later = [system[1], HARD, assistant("a plan"), EASY]
    assert talk.turn(later).source == "pinned"
    assert talk.thread(later).evidence == "history"


@pytest.mark.parametrize(
    "returned",
    [
        assistant(f"  {LONG}\n"),
        assistant(LONG, reasoning_content="hmm", reasoning="hmm"),
        assistant(None) | {"content": [{"type": "text", "text": LONG}]},
        assistant(f"<think>\nhmm\n</think>\n\n{LONG}"),
        assistant(LONG, name="bot", refusal=None),
    ],
    ids=["space", "thoughts", "parts", "inline thoughts", "fields"],
)
def test_an_answer_is_recognised_as_clients_return_it(returned: dict[str, Any]) -> None:
    talk = dialogues()
    talk.turn([HARD], LONG)
    assert talk.turn([HARD, returned, EASY]).source == "pinned"


def test_a_window_of_the_history_still_shows_the_conversation() -> None:
    talk = dialogues()
    talk.turn([HARD], LONG)
    talk.turn([HARD, assistant(LONG), EASY], "sure")
    for window in ([assistant(LONG), EASY], [EASY, assistant("sure"), user("and?")]):
        assert talk.turn(window).effort == "high"
        assert talk.thread(window).evidence == "history"
    rewritten = [user("context: ... a hard plan"), assistant(LONG), EASY]
    assert talk.turn(rewritten).source == "pinned", "as after retrieval added to the question"


def test_the_beginning_of_a_long_answer_is_enough() -> None:
    """A client that stopped the stream returns what it got."""
    talk = dialogues()
    talk.turn([HARD], LONG * 5)
    assert talk.turn([HARD, assistant(LONG * 3), EASY]).source == "pinned"
    assert talk.turn([HARD, assistant(LONG[:100]), EASY]).source == "router"


def test_an_explicit_effort_pins_nothing_and_hides_nothing() -> None:
    talk = dialogues()
    talk.turn([EASY], "sure", reasoning_effort="high")
    assert talk.turn([EASY, assistant("sure"), EASY]).source == "router"
    talk.turn([HARD], "a plan")
    later = [HARD, assistant("a plan"), EASY]
    talk.turn(later, LONG, reasoning_effort="low")
    assert talk.turn([*later, assistant(LONG), EASY]).effort == "high"
    assert talk.turn([assistant(LONG), EASY]).effort == "high", "as in a window of the history"


def test_a_compacted_history_keeps_effort_and_conversation_under_a_name() -> None:
    talk = dialogues()
    headers = {"x-session-id": "ses_1"}
    before = talk.thread([HARD], headers=headers)
    assert talk.turn([HARD], "a plan", headers=headers).effort == "high"
    compacted = [user("Summary of the work so far: it went well and is nearly done. Go on.")]
    after = talk.thread(compacted, headers=headers)
    assert (after.conversation, after.evidence) == (before.conversation, "x-session-id")
    assert talk.turn(compacted, headers=headers).source == "pinned"
    assert talk.turn(compacted).source == "router"
    assert talk.turn(compacted, headers={"x-session-id": "ses_2"}).source == "router"


def test_within_a_name_a_turn_is_pinned_by_its_own_history_first() -> None:
    """As where two chats of one session go on side by side."""
    talk = dialogues()
    headers = {"x-session-id": "ses_1"}
    talk.turn([EASY], "sure", headers=headers)
    assert talk.turn([HARD], "a plan", headers=headers).effort == "high"
    assert talk.turn([EASY, assistant("sure"), EASY], headers=headers).effort == "medium"


def test_sub_agents_remember_their_own_effort_and_share_their_root() -> None:
    talk = dialogues()
    root = {"x-claude-code-session-id": "s"}
    agent = root | {"x-claude-code-agent-id": "a"}
    other = root | {"x-claude-code-agent-id": "b"}
    assert talk.turn([HARD], "a plan", headers=agent).effort == "high"
    assert talk.turn([EASY], headers=agent).effort == "high"
    assert talk.turn([EASY], headers=root).effort == "medium"
    assert talk.turn([EASY], headers=other).effort == "medium"
    assert len({talk.thread([EASY], headers=h).conversation for h in (root, agent, other)}) == 1


def test_a_sub_agent_of_a_sub_agent_shares_the_root_too() -> None:
    talk = dialogues()
    root = {"x-session-id": "ses_a"}
    child = {"x-session-id": "ses_b", "x-parent-session-id": "ses_a"}
    grandchild = {"x-session-id": "ses_c", "x-parent-session-id": "ses_b"}
    first, later = list[Thread](), list[Thread]()
    for headers in (root, child, grandchild):
        first.append(talk.thread([EASY], headers=headers))
        talk.turn([EASY], headers=headers)
        later.append(talk.thread([EASY], headers=headers))
    assert len({thread.conversation for thread in (*first, *later)}) == 1
    assert len({thread.agent for thread in first}) == 3
    assert [thread.agent for thread in first] == [thread.agent for thread in later]


def test_a_pin_stays_within_the_limits_of_the_key() -> None:
    """The limits may have changed since the earlier turn."""
    talk = dialogues()
    talk.turn([HARD], "a plan", Caller("k"))
    later = [HARD, assistant("a plan"), EASY]
    assert talk.turn(later, caller=Caller("k", effort_cap="low")).effort == "low"


def test_messages_answers_are_recognised() -> None:
    talk = dialogues()
    answer = {"content": [{"type": "thinking", "thinking": "hmm"}, {"type": "text", "text": LONG}]}
    talk.turn([HARD], assistant(None) | answer, api=messages, max_tokens=2000)
    later = [HARD, assistant(None) | {"content": answer["content"][1:]}, EASY]
    assert talk.turn(later, api=messages, max_tokens=2000).source == "pinned"
    use = assistant(None) | {"content": [{"type": "tool_use", "id": "toolu_1", "name": "f"}]}
    result = {"role": "user", "content": [{"type": "tool_result", "content": "5"}]}
    talk.turn([EASY], use, api=messages, max_tokens=2000)
    looped = talk.turn([EASY, use, result], api=messages, max_tokens=2000)
    assert (looped.effort, looped.source) == ("medium", "pinned")


OUTPUT: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "a plan", "annotations": []}],
    },
]
CALLING: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_2", "summary": []},
    {"type": "function_call", "call_id": "call_2", "name": "f", "arguments": "{}"},
]


def test_responses_answers_are_recognised_by_items_and_by_id() -> None:
    conversations = Conversations(b"key")

    def thread(**body: Any) -> Thread:
        return asyncio.run(conversations.thread(responses.parse(body, {}), "k"))

    opening: list[Any] = [{"role": "user", "content": "a hard plan"}]
    for output, later in (
        (OUTPUT, [{"role": "user", "content": "yes"}]),
        (CALLING, [{"type": "function_call_output", "call_id": "call_2", "output": "5"}]),
    ):
        request = responses.parse({"input": opening}, {})
        begun = asyncio.run(conversations.thread(request, "k"))
        answer = {"id": f"resp_{len(later)}", "output": output}
        identities = given_identities(request.conversation.turns, responses.answers(answer))
        assert len(identities) == 1
        response_id = f"resp_{output[0]['id']}"
        conversations.remember_answers(begun, "high", [*identities, response_identity(response_id)])
        for continued in (
            thread(input=[*opening, *output, *later]),
            thread(input=[*opening, *output[1:], *later]),
            thread(input=later, previous_response_id=response_id),
        ):
            assert continued.conversation == begun.conversation
            assert continued.previous == "high"
    assert thread(input="hi", previous_response_id="resp_unknown").evidence is None


class Ledger:
    """The answers that a ledger has; counts how often it is read."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, Any]] | None = []
        self.reads = 0

    async def find(self, kind: Kind, hashes: Sequence[int]) -> list[tuple[int, str, Any]] | None:
        self.reads += 1
        self.kind = kind
        return self.rows and [row for row in self.rows if row[0] in hashes]


def test_another_gateway_finds_the_conversation_in_the_ledger() -> None:
    ledger = Ledger()
    one, other = (Conversations(b"key", archive=ledger.find) for _ in range(2))
    request = messages.parse({"messages": [HARD], "max_tokens": 9}, {})
    begun = asyncio.run(one.thread(request, "k"))
    identities = given_identities(request.conversation.turns, [[assistant("a plan")]])
    stored = one.remember_answers(begun, "high", identities)
    later = messages.parse({"messages": [HARD, assistant("a plan"), EASY], "max_tokens": 9}, {})
    assert stored is not None
    ledger.rows = [(stored, begun.conversation, "high")]
    for gateway, reads in ((one, 0), (other, 1), (other, 1)):
        thread = asyncio.run(gateway.thread(later, "k"))
        assert (thread.conversation, thread.previous) == (begun.conversation, "high")
        assert ledger.reads == reads
    assert ledger.kind == "answer"
    assert asyncio.run(other.thread(later, "another")).evidence is None
    chosen = given_identities(later.conversation.turns, [[assistant("sure")]])
    explicit = one.remember_answers(begun._replace(previous=None), None, chosen)
    assert explicit is not None
    ledger.rows = [(explicit, begun.conversation, None), (stored, begun.conversation, "high")]
    last = [HARD, assistant("a plan"), EASY, assistant("sure"), EASY]
    third = Conversations(b"key", archive=ledger.find)
    thread = asyncio.run(third.thread(messages.parse({"messages": last, "max_tokens": 9}, {}), "k"))
    assert (thread.conversation, thread.previous) == (begun.conversation, "high")


def test_another_gateway_finds_a_named_agent_in_the_ledger() -> None:
    ledger = Ledger()
    one, other = (dialogues(Conversations(b"key", archive=ledger.find)) for _ in range(2))
    headers = {"x-session-id": "s"}
    for reads in (1, 1):
        assert one.turn([HARD], headers=headers).effort == "high"
        assert (ledger.reads, ledger.kind) == (reads, "agent")
    begun = one.thread([HARD], headers=headers)
    assert begun.agent_hash is not None
    ledger.rows = [(begun.agent_hash, begun.conversation, "high")]
    for _ in range(2):
        assert other.turn([EASY], headers=headers).source == "pinned"
        assert ledger.reads == 2
    assert other.thread([EASY], headers=headers).conversation == begun.conversation
    child = {"x-session-id": "t", "x-parent-session-id": "s"}
    assert other.thread([EASY], headers=child).conversation == begun.conversation


def test_another_gateway_s_later_turn_counts_after_a_compaction(
    clock: Clock,
) -> None:
    ledger = Ledger()
    talk = dialogues(Conversations(b"key", archive=ledger.find))
    headers = {"x-session-id": "s"}
    assert talk.turn([EASY], headers=headers).effort == "medium"
    begun = talk.thread([EASY], headers=headers)
    assert begun.agent_hash is not None
    ledger.rows = [(begun.agent_hash, begun.conversation, "high")]  # of the other one
    clock.now = 1009.0
    assert talk.turn([EASY], headers=headers).effort == "medium"
    assert ledger.reads == 1
    clock.now = 1010.0
    assert talk.turn([EASY], headers=headers).effort == "high"
    assert ledger.reads == 2
    ledger.rows = [(begun.agent_hash, begun.conversation, "low")]  # behind our own turns
    clock.now = 1020.0
    assert talk.turn([EASY], headers=headers).effort == "high"


def test_an_agent_that_the_ledger_lacked_is_looked_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sub-agent may be here before the first turn of its root is in the ledger."""
    ledger = Ledger()
    talk = dialogues(Conversations(b"key", archive=ledger.find))
    root, child = {"x-session-id": "s"}, {"x-session-id": "t", "x-parent-session-id": "s"}
    talk.turn([EASY], headers=child)
    begun = talk.thread([EASY], headers=root)
    assert begun.agent_hash is not None
    ledger.rows = [(begun.agent_hash, begun.conversation, "high")]
    assert talk.turn([EASY], headers=root).effort == "high"


def test_an_explicit_effort_reads_the_ledger_once_a_minute(clock: Clock) -> None:
    ledger = Ledger()
    talk = dialogues(Conversations(b"key", archive=ledger.find))
    for _ in range(3):
        talk.turn([EASY], headers={"x-session-id": "s"}, reasoning_effort="high")
    assert ledger.reads == 1
    clock.now = 1061.0
    talk.turn([EASY], headers={"x-session-id": "s"}, reasoning_effort="high")
    assert ledger.reads == 2


def test_examples_are_looked_up_once_and_answers_after_that_are_recognised() -> None:
    ledger = Ledger()
    talk = dialogues(Conversations(b"key", archive=ledger.find))
    shots = [user("2 + 2?"), assistant("4")]
    for _ in range(5):
        talk.turn([*shots, EASY])
    assert ledger.reads == 1
    talk.turn([HARD])
    assert ledger.reads == 1
    talk.turn(shots[:1], "4")
    assert talk.thread([*shots, EASY]).evidence == "history"


def test_a_ledger_that_is_down_costs_the_conversation_alone() -> None:
    ledger = Ledger()
    ledger.rows = None
    talk = dialogues(Conversations(b"key", archive=ledger.find))
    assert talk.turn([HARD, assistant("a plan"), EASY]).source == "router"


def test_hashes_in_the_ledger_stay_those_of_earlier_releases() -> None:
    conversations = Conversations(b"key")
    session = Session("root", "agent", "x-session-id")
    request = messages.parse({"messages": [HARD], "max_tokens": 9}, {"x-session-id": "s"})
    thread = asyncio.run(conversations.thread(request, "k"))
    assert conversations.response_hash("k", "resp_1") == 6961783258014198068
    assert (
        asyncio.run(conversations.named_conversation(session, "k"))
        == "404f95e094690d2db912bac02da335af"
    )
    assert (thread.conversation, thread.agent_hash) == (
        "58333c743261dd6a269c08bff640f645",
        -1916026437698308634,
    )
    assert (
        conversations.remember_answers(thread, "high", ["\ud800", "other"]) == 4846307586384735337
    )
    assert conversations.remember_answers(thread, "high", []) is None


def test_a_named_turn_continues_the_answer_that_its_history_shows() -> None:
    talk = dialogues()
    named = {"x-session-id": "s"}
    talk.turn([HARD], "a plan", headers=named)
    later = talk.thread([HARD, assistant("a plan"), EASY], headers=named)
    assert (later.evidence, later.answer is None) == ("x-session-id", False)


def test_openings_share_the_affinity_of_their_caller() -> None:
    talk = dialogues()
    affinities = [talk.thread([HARD], Caller(name)).affinity for name in ("a", "a", "b")]
    assert affinities[0] == affinities[1] != affinities[2]


def test_of_equal_answers_the_lowest_effort_pins_and_none_where_a_client_chose_one() -> None:
    for efforts, previous in (
        (("high", "low"), "low"),
        (("none", "high"), "none"),
        ((None, "high"), None),
        (("high", None), None),
    ):
        conversations = Conversations(b"key")
        request = messages.parse({"messages": [HARD], "max_tokens": 9}, {})
        for effort in efforts:
            thread = asyncio.run(conversations.thread(request, "k"))
            identities = given_identities(request.conversation.turns, [[assistant("a plan")]])
            conversations.remember_answers(thread, effort, identities)
        turns = [HARD, assistant("a plan"), EASY]
        later = messages.parse({"messages": turns, "max_tokens": 9}, {})
        assert asyncio.run(conversations.thread(later, "k")).previous == previous


def test_an_answer_of_another_origin_does_not_hide_earlier_ones() -> None:
    talk = dialogues()
    talk.turn([HARD], "a plan")
    later = [HARD, assistant("a plan"), EASY, assistant("from elsewhere"), EASY]
    assert talk.thread(later).previous == "high"


def test_an_agent_whose_turns_had_no_effort_of_the_router_s_has_none_to_carry() -> None:
    ledger = Ledger()
    talk = dialogues(Conversations(b"key", archive=ledger.find))
    begun = dialogues().thread([EASY], headers={"x-session-id": "s"})
    assert begun.agent_hash is not None
    ledger.rows = [(begun.agent_hash, begun.conversation, None)]
    thread = talk.thread([EASY], headers={"x-session-id": "s"})
    assert (thread.conversation, thread.previous) == (begun.conversation, None)


def test_a_turn_is_remembered_whose_answer_was_forgotten_meanwhile() -> None:
    talk = dialogues()
    talk.turn([EASY], "sure")
    thread = talk.thread([EASY, assistant("sure"), EASY])
    assert thread.answer is not None
    talk.conversations._memory = TurnMemory()
    talk.conversations.remember_turn(thread, "high")


def test_ids_depend_on_the_key() -> None:
    named = {"x-session-id": "s"}
    threads = [dialogues(Conversations(key)).thread([EASY], headers=named) for key in (b"a", b"b")]
    assert threads[0].conversation != threads[1].conversation


def key(number: int) -> bytes:
    return number.to_bytes(8, "big") * 2


def test_the_memory_forgets_what_was_used_longest_ago(clock: Clock) -> None:
    memory = TurnMemory(memoryview(bytearray(352)))  # one bucket
    for number in range(1, 9):
        memory.put(key(number), Entry(key(99), number % 7 or None))
        clock.now += 1
    assert memory.get(key(1)) == Entry(key(99), 1, at=1000)
    memory.put(key(9), Entry(key(98), None, foreign=True))
    assert memory.get(key(2)) is None, "the oldest that was not used since"
    assert memory.get(key(1)) == Entry(key(99), 1, at=1008)
    assert memory.get(key(9)) == Entry(key(98), None, foreign=True, at=1008)
    memory.put(key(1), Entry(key(97), 6, continued=True))
    assert memory.get(key(1)) == Entry(key(97), 6, continued=True, at=1008)
    assert sum(memory.get(key(number)) is not None for number in range(1, 10)) == 8


def test_a_slot_that_two_workers_wrote_at_once_counts_as_empty() -> None:
    raw = bytearray(352)
    memory, shared = TurnMemory(memoryview(raw)), TurnMemory(memoryview(raw))
    memory.put(key(5), Entry(key(7), 3))
    assert shared.get(key(5)) == memory.get(key(5)) is not None
    raw[raw.find(key(5)) + 20] ^= 1
    assert shared.get(key(5)) is None
