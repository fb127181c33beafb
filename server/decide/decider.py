"""Decides effort and budget of a request.

Precedence: explicit budget > explicit effort > the key's cap and floor > holdout > pinned >
router > fallback. An explicit choice is never overwritten, only limited by the key.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from router.effort import Effort, nearest, rank
from router.policy import Policy
from router.pressure import IDLE, Limits, Load, Pressure
from router.router import Route, Router
from server.api.request import ParsedRequest
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.budget import choose_budget, thinking_limit
from server.decide.choice import (
    Choice,
    expected_budget,
    explicit_choice,
    limited,
    treated_choice,
)
from server.decide.composites import attempts, may_be_composite
from server.decide.conversations import Thread
from server.decide.decision import Decision
from server.decide.effort_cap import check_messages
from server.decide.enforcement import Enforcement
from server.decide.holdout import NO_HOLDOUT, Holdout
from server.decide.kind import Kinds
from server.decide.withheld_efforts import Withheld, offered, stand_in, without_withheld
from server.engines.model_info import ModelInfo


class Decider:
    """Applies the precedence; owns the router's policy and the kinds of traffic.

    `efforts` are the model's and those that a budget makes, cheapest first.

    Args:
        settings: the gateway's.
        router: estimates and routes prompts.
        holdout: draws the arms of conversations.
        withheld: the efforts that are not offered at present.
    """

    def __init__(
        self,
        settings: Settings,
        router: Router,
        holdout: Holdout = NO_HOLDOUT,
        withheld: Callable[[], Withheld] = dict,
    ) -> None:
        self._holdout = holdout
        self._withheld = withheld
        self._pressure = Pressure(Limits(settings.overload_requests, settings.overload_ttft))
        self.adopt(settings, router)

    def adopt(self, settings: Settings, router: Router) -> None:
        """Decide by these from now on: the efforts of a model may be known late."""
        self._settings = settings
        self.efforts = settings.offered_efforts
        self._router = router
        fitted = router.artifact.parameters.kinds.by_kind if router.artifact else ()
        self.kinds = Kinds(settings.kinds, fitted)
        self.baseline: Effort = cast("Effort", router.baseline)
        self._abstaining = Router.without_artifact(
            self.efforts, self.baseline, "the router was fitted on another model"
        )
        self._policy = Policy(
            mode=settings.policy,
            max_loss=settings.max_loss,
            price=settings.price,
            tokens=settings.tokens_per_request,
            effort=self.baseline,
        )

    def decide(
        self,
        request: ParsedRequest,
        caller: Caller,
        model: ModelInfo,
        load: Load = IDLE,
        thread: Thread | None = None,
        enforcement: Enforcement | None = None,
    ) -> Decision:
        """The decision for a request.

        Args:
            request: the parsed request.
            caller: whose limits hold.
            model: the engine's.
            load: the engine's at present.
            thread: the conversation of the request; without one, or its id, no arm is drawn.
            enforcement: of budgets on the request; without it, efforts that are budgets may be
                chosen, and composite ones not.

        Raises:
            BadRequest: the explicit budget is larger than the context, or the messages open a
                thought past the key's cap.
        """
        check_messages(request, caller, self._settings)
        settings = self._settings
        policy, pressure = self._policy_under(load)
        withheld: Withheld = {} if request.effort is not None else self._withheld()
        allowed = offered(self._meaningful(request, caller, enforcement), withheld)
        kind = self.kinds.find(request, caller, model)
        router, policy = without_withheld(self.router_for(model.model), policy, withheld)
        began_at = time.perf_counter()
        route = self._composite_route(
            request, caller, model, allowed, policy, kind, thread, enforcement, router
        ) or router.route(request.conversation, allowed, policy, kind)
        routed_at = began_at, time.perf_counter()
        baseline = nearest(limited(stand_in(self.baseline, withheld), caller), allowed)
        choice = self._choose(request, caller, allowed, baseline, route, thread)
        effort, source = choice.effort, choice.source
        reason = choice.reason
        if pressure and source == "router":
            reason += ". The engine's load raises the price of thinking"
        expected = expected_budget(choice, route, pressure)
        budget, budget_source = choose_budget(
            request, caller, settings, effort, expected, model.context
        )
        decision = Decision(
            effort=effort,
            source=source,
            budget=budget,
            budget_source=budget_source,
            reason=reason,
            abstained=route.abstained if source in ("fallback", "holdout") else None,
            estimate=route.estimate,
            baseline_effort=baseline,
            pressure=pressure,
            calibrated=route.calibrated,
            draw=choice.draw,
            routed=choice.routed,
            pinned=choice.pinned,
            effort_budget=settings.effort_budgets.get(effort),
            budget_limit=thinking_limit(caller, settings)[0],
            allowed=(*allowed, *route.composites),
            kind=kind,
            routed_composite=route.composite,
            routed_at=routed_at,
        )
        return attempts(decision, request, caller, settings, model.context)

    def _policy_under(self, load: Load) -> tuple[Policy, float]:
        """The policy, whose price of thinking a load raises, and the pressure of that load."""
        pressure = self._pressure.update(load)
        if not pressure:
            return self._policy, pressure
        surcharge = pressure * self._settings.overload_price
        return replace(self._policy, surcharge=surcharge), pressure

    def _composite_route(
        self,
        request: ParsedRequest,
        caller: Caller,
        model: ModelInfo,
        allowed: Sequence[Effort],
        policy: Policy,
        kind: str | None,
        thread: Thread | None,
        enforcement: Enforcement | None,
        router: Router,
    ) -> Route | None:
        """The route where composite efforts may be chosen; None where they may not."""
        if enforcement is None or not may_be_composite(
            request, caller, self._settings, router, thread
        ):
            return None
        route = router.route(request.conversation, allowed, policy, kind, composites=True)
        if route.composite is None:
            return route
        initial, budget = cast("Effort", route.composite.initial), route.composite.budget
        granted, _ = choose_budget(request, caller, self._settings, initial, budget, model.context)
        return route if granted == budget and enforcement.keeps(budget) else None

    def lowest(self, caller: Caller) -> Caller:
        """The caller, limited to the lowest effort that it may have."""
        return replace(caller, effort_cap=self.allowed(caller)[0])

    def router_for(self, model: str | None) -> Router:
        """The router, or one that abstains where the engine's model is not the fitted one.

        Weights in a folder were compared by their hash when the router was loaded.
        """
        artifact = self._router.artifact
        if self._settings.folder is not None or artifact is None or not artifact.calibrated:
            return self._router
        if model in (None, artifact.model):
            return self._router
        return self._abstaining

    def allowed(self, caller: Caller) -> tuple[Effort, ...]:
        """The model's efforts that the key allows; at least one."""
        ladder = self.efforts
        if caller.effort_cap is None and caller.effort_floor is None:
            return ladder
        within: tuple[Effort, ...] = tuple(e for e in ladder if limited(e, caller) == e)
        return within or (nearest(limited(ladder[0], caller), ladder),)

    def _meaningful(
        self, request: ParsedRequest, caller: Caller, enforcement: Enforcement | None
    ) -> tuple[Effort, ...]:
        """Of the efforts that the key allows those that mean something on this request.

        `none` does not where the request wants thinking, nor an effort that is a budget where
        nothing can enforce it. All of them where none, or no thinking, would remain.
        """
        allowed = self.allowed(caller)
        if request.thinking.thinks:
            thinking: tuple[Effort, ...] = tuple(effort for effort in allowed if rank(effort))
            allowed = thinking or allowed
        budgets = self._settings.effort_budgets
        if not budgets or request.effort is not None or enforcement is None:
            return allowed
        meaningful: tuple[Effort, ...] = tuple(
            effort
            for effort in allowed
            if effort not in budgets or enforcement.takes(budgets[effort])
        )
        return meaningful if any(map(rank, meaningful)) else allowed

    def _choose(
        self,
        request: ParsedRequest,
        caller: Caller,
        allowed: Sequence[Effort],
        baseline: Effort,
        route: Route,
        thread: Thread | None,
    ) -> Choice:
        if request.effort is not None:
            return explicit_choice(request.effort, caller, allowed, self._withheld())
        previous = thread.previous if thread else None
        if previous is not None:  # under limits that may have been others at that time
            previous = stand_in(previous, self._withheld())
            previous = nearest(limited(previous, caller), allowed)
        treated = treated_choice(request, previous, route)
        if request.budget is not None or request.thinking.unlimited:
            return treated
        if thread is None or not thread.conversation:
            return treated
        draw = self._holdout.draw(thread.conversation, allowed, baseline)
        if draw.effort is None:
            return Choice(treated.effort, treated.source, treated.reason, draw, *treated[4:])
        reason = f"{draw.effort}, drawn at random ({draw.arm}) so that savings can be measured"
        return Choice(draw.effort, "holdout", reason, draw, treated.effort, treated.pinned)
