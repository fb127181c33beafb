"""Effort and budget of one request, and where they came from.

Precedence: explicit budget > explicit effort > the key's cap and floor > holdout > pinned >
router > fallback. An explicit choice is never overwritten, only held within the key's limits.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, cast

from router.conversation import carry, conversation_key
from router.effort import EFFORTS, Effort, nearest
from router.estimate import Estimate
from router.load import IDLE, Limits, Load, Pressure, lowered
from router.messages import Conversation, read_messages
from router.policy import Policy
from router.router import Route, Router
from server.api.request import ParsedRequest
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.conversations import Conversations
from server.decide.holdout import NOBODY, Draw, Holdout
from server.engines.model_info import ModelInfo
from server.errors import BadRequest

Source = Literal["request", "key", "pinned", "router", "fallback", "holdout"]
BudgetSource = Literal["request", "key", "router", "limit", "effort", "none"]

_ASKING = ("user", "system", "developer")
"""Roles of what is said before there is any answer."""

_CHARACTERS_PER_TOKEN = 3
"""Fewer than tokenizers reach on prose, so that a prompt is over- rather than underestimated."""

_LEAST_ROOM = 8
"""A guessed prompt length never takes more than all but an eighth of the context from thinking."""


class Decision(NamedTuple):
    """How one request is to be thought about.

    `budget` is in thinking tokens, None where nothing bounds it. `source` tells where the effort
    came from, `budget_source` where the budget did. `pressure` is the engine's load, 0 to 1, as far
    as it made thinking dearer; `calibrated` is False where the estimate is not of this model.
    `estimate` is the router's, also where the client chose. `draw` is the arm of the conversation,
    None where the client chose; `routed` what the router's arm gets, also for who is held out, and
    `pinned` whether an earlier turn decided that. `most_budget` is what key and server allow, None
    where neither bounds it; `allowed` the efforts that the key leaves.
    """

    effort: Effort
    source: Source
    budget: int | None
    budget_source: BudgetSource
    reason: str
    abstained: str | None
    estimate: Estimate | None
    baseline_effort: Effort
    pressure: float = 0.0
    calibrated: bool = True
    draw: Draw | None = None
    routed: Effort | None = None
    pinned: bool = False
    most_budget: int | None = None
    allowed: tuple[Effort, ...] = ()

    @property
    def arm(self) -> str | None:
        """The arm's name; None where the client chose."""
        return self.draw.arm if self.draw else None

    @property
    def baseline_tokens(self) -> float | None:
        """Thinking tokens that the baseline effort is expected to take on this prompt."""
        if self.estimate is None or not self.calibrated:
            return None
        return self.estimate.tokens.get(self.baseline_effort)


class _Chosen(NamedTuple):
    """An effort, and how it came about; see Decision."""

    effort: Effort
    source: Source
    reason: str
    draw: Draw | None = None
    routed: Effort | None = None
    pinned: bool = False


class Decider:
    """Applies the precedence; owns the router's policy and the memory of conversations."""

    def __init__(self, settings: Settings, router: Router, holdout: Holdout = NOBODY) -> None:
        self._settings = settings
        self._holdout = holdout
        self._router = router
        self._foreign = Router.without_artifact(
            settings.efforts, settings.baseline_effort, "the router was fitted on another model"
        )
        self._policy = Policy(
            mode=settings.policy,
            max_loss=settings.max_loss,
            price=settings.price,
            tokens=settings.mean_tokens,
            effort=settings.baseline_effort,
        )
        self._pressure = Pressure(Limits(settings.load_in_flight, settings.load_wait_seconds))
        self._conversations = Conversations()

    def decide(
        self,
        asked: ParsedRequest,
        caller: Caller,
        served: ModelInfo,
        load: Load = IDLE,
        remember: bool = True,
    ) -> Decision:
        """The decision for a request.

        Args:
            asked: the parsed request.
            caller: whose limits hold.
            served: the engine's model.
            load: what the engine is under.
            remember: whether the conversation's next turn is to know of this one.

        Raises:
            BadRequest: the explicit budget is larger than the context.
        """
        router = self.router_for(served.model)
        pressure = self._pressure.update(load)
        policy = self._policy
        if pressure:
            policy = replace(policy, surcharge=pressure * self._settings.load_price)
        said = read_messages(asked.messages)
        allowed = self._allowed(caller)
        route = router.route(said, allowed, policy)
        baseline = nearest(_held(self._settings.baseline_effort, caller), allowed)
        chosen = self._choose(asked, said, caller, allowed, baseline, route, remember)
        effort, source = chosen.effort, chosen.source
        expected = route.estimate.budget.get(effort) if route.estimate else None
        if source == "holdout":  # as it would be without a router
            expected = None
        elif source != "request":
            expected = lowered(expected, pressure)
        budget, budget_source = self._budget(asked, said, caller, effort, expected, served.context)
        return Decision(
            effort=effort,
            source=source,
            budget=budget,
            budget_source=budget_source,
            reason=chosen.reason,
            abstained=route.abstained if source in ("fallback", "holdout") else None,
            estimate=route.estimate,
            baseline_effort=baseline,
            pressure=pressure,
            calibrated=route.calibrated,
            draw=chosen.draw,
            routed=chosen.routed,
            pinned=chosen.pinned,
            allowed=allowed,
            most_budget=_least(caller.max_budget, "key", self._settings.max_budget, "limit")[0],
        )

    def router_for(self, model: str | None) -> Router:
        """The router, or one that abstains where the engine's model is not the fitted one.

        Weights in a folder were compared by their hash when the router was loaded.
        """
        artifact = self._router.artifact
        if self._settings.folder is not None or artifact is None or not artifact.calibrated:
            return self._router
        if model in (None, artifact.model):
            return self._router
        return self._foreign

    def _allowed(self, caller: Caller) -> tuple[Effort, ...]:
        """The part of the model's ladder that the key leaves; never empty."""
        ladder: tuple[Effort, ...] = self._settings.efforts
        if caller.effort_cap is None and caller.effort_floor is None:
            return ladder
        within: tuple[Effort, ...] = tuple(e for e in ladder if _held(e, caller) == e)
        return within or (nearest(_held(ladder[0], caller), ladder),)

    def _choose(
        self,
        asked: ParsedRequest,
        said: Conversation,
        caller: Caller,
        allowed: Sequence[Effort],
        baseline: Effort,
        route: Route,
        remember: bool,
    ) -> _Chosen:
        if asked.effort is not None:
            return _explicit(asked.effort, caller, allowed)
        conversation = f"{caller.name}:{conversation_key(said)}"
        treated = self._routed(said, conversation, route)
        if remember:  # of who is held out, too: `routed` is what the router's arm would get
            self._conversations.remember(conversation, treated.effort)
        if asked.budget is not None:
            return treated
        draw = self._holdout.draw(conversation, allowed, baseline)
        if draw.effort is None:
            return treated._replace(draw=draw)
        reason = f"{draw.arm}: {draw.effort}, drawn at random so that savings can be measured"
        return _Chosen(draw.effort, "holdout", reason, draw, treated.effort, treated.pinned)

    def _routed(self, said: Conversation, conversation: str, route: Route) -> _Chosen:
        source: Source = "fallback" if route.abstained else "router"
        later = any(turn.role not in _ASKING for turn in said.turns)
        previous = self._conversations.effort(conversation) if later else None
        carried = carry(said, previous, route.effort, EFFORTS)
        if carried.pinned:
            effort = cast("Effort", carried.effort)
            return _Chosen(effort, "pinned", carried.reason, routed=effort, pinned=True)
        effort = cast("Effort", route.effort)
        return _Chosen(effort, source, route.reason, routed=effort)

    def _budget(
        self,
        asked: ParsedRequest,
        said: Conversation,
        caller: Caller,
        effort: Effort,
        expected: int | None,
        context: int | None,
    ) -> tuple[int | None, BudgetSource]:
        if effort == "none":
            return 0, "effort"
        if asked.budget is not None:
            if context is not None and asked.budget > context:
                raise BadRequest(
                    f"{asked.budget_field} {asked.budget} is more than the model's context of "
                    f"{context} tokens",
                    asked.budget_field,
                )
            budget, source = _least(asked.budget, "request", caller.max_budget, "key")
            return _least(budget, source, self._settings.max_budget, "limit")
        budget, source = _least(expected, "router", self._room(asked, said, context), "limit")
        budget, source = _least(budget, source, caller.max_budget, "key")
        return _least(budget, source, self._settings.max_budget, "limit")

    def _room(self, asked: ParsedRequest, said: Conversation, context: int | None) -> int | None:
        """Thinking tokens that fit while the answer keeps its reserve."""
        rooms: list[int] = []
        if asked.max_tokens is not None:
            rooms.append(asked.max_tokens)
        if context is not None:
            characters = sum(len(turn.text) for turn in said.turns)
            left = context - characters // _CHARACTERS_PER_TOKEN
            rooms.append(max(left, context // _LEAST_ROOM))
        if not rooms:
            return None
        room = min(rooms)
        return room - min(self._settings.answer_reserve, -(-room // 2))


def _explicit(effort: Effort, caller: Caller, allowed: Sequence[Effort]) -> _Chosen:
    held = _held(effort, caller)
    given = nearest(held, allowed)
    if held != effort:
        reason = f"asked for {effort}, held at {given} by key '{caller.name}'"
        return _Chosen(given, "key", reason)
    if given != effort:
        reason = f"asked for {effort}; the nearest the model has is {given}"
        return _Chosen(given, "request", reason)
    return _Chosen(given, "request", f"asked for {effort}")


def _held(effort: Effort, caller: Caller) -> Effort:
    """The effort within the key's floor and cap."""
    if caller.effort_cap and EFFORTS.index(effort) > EFFORTS.index(caller.effort_cap):
        return caller.effort_cap
    if caller.effort_floor and EFFORTS.index(effort) < EFFORTS.index(caller.effort_floor):
        return caller.effort_floor
    return effort


def _least(
    budget: int | None, source: BudgetSource, limit: int | None, limit_source: BudgetSource
) -> tuple[int | None, BudgetSource]:
    """The lower of a budget and a limit, either of which may be absent."""
    if limit is not None and (budget is None or limit < budget):
        return limit, limit_source
    return budget, source if budget is not None else "none"
