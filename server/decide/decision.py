"""The decision about one request: effort and budget, and where they came from."""

from typing import Literal, NamedTuple

from router.composite import Composite
from router.effort import Effort
from router.estimate import Estimate
from server.decide.holdout import Draw

Source = Literal["request", "key", "pinned", "router", "fallback", "holdout"]
BudgetSource = Literal["request", "key", "router", "limit", "effort", "none"]


class Decision(NamedTuple):
    """Effort and budget of one request.

    Attributes:
        effort: what the engine is to use.
        source: where the effort came from.
        budget: thinking tokens at most, for each choice; None where nothing bounds them.
        budget_source: where the budget came from.
        reason: the choice of the effort in a sentence.
        abstained: why the router did not judge the prompt; None where it did or was not used.
        estimate: the router's, also where the client chose the effort.
        baseline_effort: the effort that the request would have without the router.
        pressure: how much the engine's load raised the price of thinking, 0 to 1.
        calibrated: False where the estimate was fitted on another model.
        draw: the arm of the conversation; None where the client chose.
        routed: the router's effort, also in the holdout; None where the client chose.
        pinned: whether an earlier turn decided `routed`.
        effort_budget: the most that the effort may spend by the setting `effort_budgets`; None
            where it has none.
        budget_limit: the largest budget that key and server allow; None where neither limits it.
        allowed: what could be chosen: the model's efforts that the key allows, and composites.
        kind: the request's kind of traffic; None where it shows none that is known.
        routed_composite: the router's composite effort, where it chose one, also in the holdout.
        final: the attempt after this one, where this one hits its budget; None where this is the
            only attempt, or the final one.
        routed_at: when the router began and ended, in seconds of `time.perf_counter`.
        sends_budget: whether the engine gets the budget; at effort `none` only where a client may
            open a thought nevertheless.
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
    effort_budget: int | None = None
    budget_limit: int | None = None
    allowed: tuple[str, ...] = ()
    kind: str | None = None
    sends_budget: bool = True
    routed_composite: Composite | None = None
    final: "Decision | None" = None
    routed_at: tuple[float, float] | None = None

    @property
    def composite(self) -> Composite | None:
        """The composite effort of which `effort` is an attempt; None where there is none."""
        return self.routed_composite if self.source == "router" else None

    @property
    def choice(self) -> str:
        """What was chosen: the name of a composite effort, else the effort."""
        if self.routed_composite is None:
            return self.effort
        return self.composite.name if self.composite else self.effort

    @property
    def routed_choice(self) -> str | None:
        """What the router chose, as `choice`; None where the client did."""
        return self.routed_composite.name if self.routed_composite else self.routed

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
