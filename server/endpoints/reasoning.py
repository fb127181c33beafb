"""The endpoints of requests that think. `ReasoningEndpoint._respond` is the whole online flow."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.types import Receive, Scope, Send

from router.pressure import Load
from server.api.protocol import Api
from server.api.reasoning_copy import copy_in_answer
from server.api.request import ParsedRequest
from server.api.served_model import for_model
from server.api_keys import ApiKeys, Caller
from server.config.settings import Settings
from server.decide.budget import answer_reserve
from server.decide.conversations import Conversations, Thread
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.decide.enforcement import Enforcement
from server.endpoints.admission import Admission, admit
from server.endpoints.answer import read_answer, refused
from server.endpoints.attempts import heartbeat, is_answer
from server.endpoints.budget_retry import BudgetRetry, add_usage
from server.endpoints.empty_answers import empty_answers
from server.endpoints.given_answer import GivenAnswer
from server.endpoints.respond import send_json
from server.endpoints.session_admission import (
    admit_to_session,
    decide_within,
    turn_of_loop,
)
from server.endpoints.stream import relay_stream
from server.engines.call import Call
from server.engines.dialect import CHAT, MESSAGES
from server.engines.fleet import Fleet
from server.engines.in_flight import InFlight
from server.engines.model_info import ModelInfo
from server.engines.reply import ENDING_SECONDS
from server.engines.usage import Usage, read_usage, with_added
from server.errors import EngineFailed, GatewayError
from server.http.body import BodyReader
from server.http.disconnect import CancelOnDisconnect
from server.http.headers import headers_of
from server.http.json_codec import dumps
from server.http.timeouts import TimeoutPool
from server.lifecycle.endpoint import TrackedEndpoint
from server.lifecycle.record import RequestRecord
from server.lifecycle.tracker import RequestTracker
from server.limits.key_limits import KeyLimits
from server.limits.session_budgets import SessionBudgets, SessionCharge


class ReasoningEndpoint(TrackedEndpoint):
    """The endpoint of one API: Chat Completions, Responses or Messages."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        bodies: BodyReader,
        keys: ApiKeys,
        limits: KeyLimits,
        sessions: SessionBudgets | None,
        conversations: Conversations,
        decider: Decider,
        fleet: Fleet,
        tracker: RequestTracker,
    ) -> None:
        super().__init__(tracker)
        self._api = api
        self._bodies = bodies
        self._keys = keys
        self._limits = limits
        self._sessions = sessions
        self._conversations = conversations
        self._decider = decider
        self._fleet = fleet
        self._budget_retry = BudgetRetry(settings.retry_budget_factor)
        self._copies_reasoning = settings.reasoning_content and api.PATH == CHAT
        self._log_prompts = settings.log_prompts
        self._endings = TimeoutPool(ENDING_SECONDS)
        self._answer_reserve = settings.answer_reserve

    async def _respond(
        self, record: RequestRecord, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = headers_of(scope)
        caller = self._authenticate(record, headers)
        with caller.limit():
            body = await self._read_body(record, receive)
            request = self._api.parse(body, headers)
            del headers  # a stream would hold them
            model = self._fleet.resolve_model(request.model)
            request = for_model(request, model, self._api.PATH)
            thread = await self._conversations.thread(request, caller.name)
            record.parsed_at = time.perf_counter()
            load = self._tracker.load()
            enforcement = self._enforcement(request)
            decide = partial(self._decide, enforcement, model=model, load=load, thread=thread)
            decision, admission = await self._admit(record, caller, thread, decide, enforcement)
            self._record_decision(record, request, decision, thread, model)
            given_answer = GivenAnswer(self._conversations, record, request, self._api)
            try:
                with admission, CancelOnDisconnect(scope, receive):
                    async with await self._attempt(record, request, send) as in_flight:
                        relayed = self._relay(
                            record, request, given_answer, in_flight, admission, send
                        )
                        answer = await relayed
                    if answer is not None:  # not streamed
                        answer = await self._account(record, request, answer, in_flight)
                        given_answer.remember(answer)
                    self._report_ignored_budget(record, in_flight)
                    if answer is not None:
                        body = copy_in_answer(answer) if self._copies_reasoning else answer
                        await send_json(record, dumps(body), send, in_flight.reply.retry_after)
            except GatewayError as error:
                if not record.head_sent:
                    raise
                record.status = error.status
                await send({"type": "http.response.body", "body": self._api.error_event(error)})

    def _authenticate(self, record: RequestRecord, headers: Mapping[str, str]) -> Caller:
        caller = self._keys.caller(headers)
        record.caller = caller.name
        return caller

    async def _read_body(self, record: RequestRecord, receive: Receive) -> dict[str, Any]:
        body = await self._bodies.read(receive)
        record.body_read_at = time.perf_counter()
        return body

    def _enforcement(self, request: ParsedRequest) -> Enforcement:
        fleet = self._fleet
        return Enforcement(request, fleet.budget_support, fleet.dialect, self._api.PATH)

    def _decide(
        self,
        enforcement: Enforcement,
        caller: Caller,
        model: ModelInfo,
        load: Load,
        thread: Thread,
    ) -> Decision:
        """The decision, with a budget that the engines enforce."""
        request, decider = enforcement.request, self._decider
        return enforcement.check(decider.decide(request, caller, model, load, thread, enforcement))

    async def _admit(
        self,
        record: RequestRecord,
        caller: Caller,
        thread: Thread,
        decide: Callable[[Caller], Decision],
        enforcement: Enforcement,
    ) -> tuple[Decision, Admission]:
        def lower(owner: str = f"key '{caller.name}'") -> Decision:
            decision = decide(self._decider.lowest(caller))
            reason = f"{owner} has no thinking tokens left: {decision.effort}"
            return decision if decision.source == "holdout" else decision._replace(reason=reason)

        def choose(session: SessionCharge | None) -> Decision:
            if session is not None and session.is_over:
                return lower("the session")
            return decide_within(session, caller, decide, enforcement)

        decision, session = await admit_to_session(self._sessions, caller, thread, choose)
        request, is_anthropic = enforcement.request, self._api.PATH == MESSAGES
        return await admit(
            self._limits, caller, record, request, decision, lower, is_anthropic, session
        )

    def _record_decision(
        self,
        record: RequestRecord,
        request: ParsedRequest,
        decision: Decision,
        thread: Thread,
        model: ModelInfo,
    ) -> None:
        record.decided_at = time.perf_counter()
        record.model, record.decision = model.model, decision
        record.choices, record.stream = request.n, request.stream
        record.thread = thread
        record.loop_turn = turn_of_loop(request)
        self._conversations.remember_turn(thread, decision.routed)
        record.max_tokens, record.context = request.max_tokens, model.context
        if self._log_prompts:
            record.prompt_json = dumps(request.messages).decode()

    def _report_ignored_budget(self, record: RequestRecord, in_flight: InFlight) -> None:
        if record.budget_ignored:
            self._fleet.health.report_ignored_budget(in_flight.engine)

    async def _attempt(self, record: RequestRecord, request: ParsedRequest, send: Send) -> InFlight:
        """The attempt that the client gets; the only one, unless the effort is a composite one."""
        assert record.decision is not None
        if record.decision.final is None:
            return await self._forward(record, request)
        if not request.stream:
            return await self._settle(record, request)
        async with heartbeat(record, self._api, send):
            return await self._settle(record, request)

    async def _settle(self, record: RequestRecord, request: ParsedRequest) -> InFlight:
        """The initial attempt of a composite effort, or the final one where that is due."""
        in_flight = await self._forward(record, request)
        if await is_answer(in_flight, self._api, record, request):
            return in_flight
        self._report_ignored_budget(record, in_flight)
        record.begin_final_attempt()
        if record.thread and record.decision:
            self._conversations.remember_turn(record.thread, record.decision.routed)
        return await self._forward(record, request)

    async def _forward(self, record: RequestRecord, request: ParsedRequest) -> InFlight:
        """The request on an engine whose reply has begun."""
        record.forwarded_at = time.perf_counter()
        if record.trace is not None:
            record.trace.begin_engine(record)
        in_flight = await self._fleet.send(self._call(record, request))
        if record.trace is not None:
            record.trace.name_engine(in_flight.engine.name)
        record.undershoot = in_flight.engine.budget_support.undershoot
        return in_flight

    def _call(self, record: RequestRecord, request: ParsedRequest) -> Call:
        decision = record.decision
        assert decision is not None
        dialect = self._fleet.dialect

        def write(budget: int | None) -> dict[str, Any]:
            return self._api.write(request, decision.effort, budget, record.model, dialect)

        headers = record.engine_headers
        if record.thread is not None:  # what a router before the engines chooses by
            headers = {**headers, "x-session-id": record.thread.conversation}
        return Call(
            self._api.PATH,
            headers,
            write,
            decision.budget if decision.sends_budget else None,
            record.thread.affinity if record.thread else None,
            decision.effort != "none",
            request.max_tokens,
            request.n,
            answer_reserve(self._answer_reserve, request.max_tokens),
            counts_thinking=decision.composite is not None,
            book=record.book,
        )

    async def _relay(
        self,
        record: RequestRecord,
        request: ParsedRequest,
        given_answer: GivenAnswer,
        in_flight: InFlight,
        admission: Admission,
        send: Send,
    ) -> dict[str, Any] | None:
        """Send a stream's events to the client as they arrive; any other answer is returned."""
        reply = in_flight.reply
        if reply.status == 200 and request.stream and reply.is_stream:
            assert record.decision is not None
            effort = record.decision.effort

            def tops(usage: Usage | None) -> dict[str, Any]:
                given_answer.ending = True
                return record.record_usage(usage, reply.cut)

            relay = self._api.relay(request, tops, effort)
            relay.copies_reasoning, relay.discarded = self._copies_reasoning, record.discarded
            meter = admission.meter
            await relay_stream(record, reply, relay, self._endings, send, given_answer, meter)
            record.empty_answers = int(record.status == 200 and given_answer.is_empty)
            return None
        answer = await read_answer(self._api, reply, request, record.context)
        if reply.status == 200 and request.stream:
            raise EngineFailed("the engine did not answer a streaming request with a stream")
        if record.head_sent:
            raise refused(answer, reply)
        record.status = reply.status
        return answer

    async def _account(
        self,
        record: RequestRecord,
        request: ParsedRequest,
        answer: dict[str, Any],
        in_flight: InFlight,
    ) -> dict[str, Any]:
        """The answer with its `tops` object; of a retry where the budget left it unusable."""
        if record.status != 200:
            return answer
        tops = record.record_usage(read_usage(answer), in_flight.reply.cut)
        if record.discarded is not None:
            answer = {**answer, "usage": with_added(answer.get("usage"), record.discarded)}
        budget = self._budget_retry.larger_budget(record, request, answer)
        retried = None if budget is None else await self._retry(record, request, answer, budget)
        record.empty_answers = empty_answers(retried or answer)
        return retried or self._api.with_tops(answer, tops)

    async def _retry(
        self, record: RequestRecord, request: ParsedRequest, answer: dict[str, Any], budget: int
    ) -> dict[str, Any] | None:
        """The answer under a larger budget; None where there is none and the earlier one stands."""
        decision, cut = record.decision, None
        record.raise_budget(budget)
        try:
            async with await self._fleet.send(self._call(record, request)) as in_flight:
                reply = in_flight.reply
                retried = await read_answer(self._api, reply, request, record.context)
                cut = reply.cut
        except GatewayError:
            retried = {}
        if not self._api.is_answer(retried):
            record.decision = decision
            return None
        tops = record.record_usage(read_usage(retried), cut, retry=True)
        usage = add_usage(answer.get("usage"), retried.get("usage"))
        return self._api.with_tops({**retried, "usage": usage}, tops)
