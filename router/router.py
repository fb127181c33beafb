"""The router at run time: messages in, a decision out, and never an exception.

Whatever it cannot estimate gets the baseline effort, and the route says why. It keeps no state: the
gateway remembers the effort of a conversation (`router.conversation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from router.artifact import Artifact, ArtifactError, load
from router.composite import Composite
from router.effort import Effort, is_effort, nearest
from router.estimate import Abstention, Estimate, estimate, out_of_distribution, unlike_by_system
from router.features import read_prompt
from router.messages import Conversation, read_messages
from router.policy import Policy, choose, is_hopeless
from router.question import question
from router.reason import why

DEFAULT_POLICY = Policy()
PORTABLE = Path(__file__).with_name("portable.json")
"""The router for models without outcomes; `models.studies.portable` fits it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A decision, and the sentence that explains it (`reason`).

    `judgement`: the estimate that the router trusts, or that it abstains; None where a fixed policy
    needs no estimate. `calibrated` is False where the estimate is not of the model that is served.
    `composite` is set where `effort` is the name of one; `composites` are those that could be.
    """

    effort: str
    judgement: Estimate | Abstention | None
    reason: str
    calibrated: bool = True
    composite: Composite | None = None
    composites: tuple[str, ...] = ()

    @property
    def estimate(self) -> Estimate | None:
        """The estimate that the router trusts; None where it abstains."""
        return self.judgement if isinstance(self.judgement, Estimate) else None

    @property
    def abstained(self) -> str | None:
        """Why the router abstains; None where it trusts its estimate or needs none."""
        return self.judgement.cause if isinstance(self.judgement, Abstention) else None

    @property
    def budget(self) -> int | None:
        """The thinking-token budget of the effort; None without a trusted estimate."""
        return self.estimate.budget.get(self.effort) if self.estimate else None


@dataclass(frozen=True)
class Router:
    """Routes prompts for one model. Without an artifact it abstains; `unusable` says why."""

    efforts: tuple[str, ...]
    baseline: str
    artifact: Artifact | None = None
    unusable: str | None = None

    @classmethod
    def load(cls, path: str | Path, weights: str | None = None) -> "Router":
        """The router of an artifact file.

        Raises ArtifactError, also where it was fitted on other `weights` (a hash; None: no check).
        """
        artifact = load(path)
        if weights is not None and artifact.weights is not None and artifact.weights != weights:
            raise ArtifactError(
                f"{path} was fitted on weights {artifact.weights[:12]}, but {weights[:12]} are "
                "served; fit a router for these weights with `tops fit`"
            )
        return cls(artifact.efforts, artifact.baseline, artifact)

    @classmethod
    def portable(cls, efforts: Sequence[str], baseline: str) -> "Router":
        """The shipped router for models without outcomes.

        Not calibrated on any served model: it sets no budget and never chooses above `baseline`.
        Raises ArtifactError where it has no estimate for `baseline`.
        """
        artifact = load(PORTABLE)
        if baseline not in artifact.efforts:
            raise ArtifactError(
                f"the portable router has the efforts {', '.join(artifact.efforts)}, not the "
                f"baseline {baseline}: set baseline_effort to one of these, or use no router"
            )
        return cls(tuple(efforts), baseline, artifact)

    @classmethod
    def without_artifact(
        cls, efforts: Sequence[str], baseline: str, reason: str = "no router artifact"
    ) -> "Router":
        """A router that always abstains for this `reason`. Raises ValueError: unknown baseline."""
        if baseline not in efforts:
            raise ValueError(f"baseline effort {baseline!r} is not among {', '.join(efforts)}")
        return cls(tuple(efforts), baseline, None, reason)

    @property
    def state(self) -> str:
        """The state that operators see: `fitted`, `uncalibrated`, or why it always abstains."""
        if self.artifact is None:
            return self.unusable or "no router artifact"
        return "fitted" if self.artifact.calibrated else "uncalibrated"

    def route(
        self,
        messages: object,
        allowed: Sequence[str] | None = None,
        policy: Policy = DEFAULT_POLICY,
        kind: str | None = None,
        composites: bool = False,
    ) -> Route:
        """Decide the effort for `messages`, any JSON value, among the `allowed` efforts.

        `allowed` None means all; `kind` is of traffic, None where it is not known. With
        `composites`, composite efforts may be chosen too, where both efforts of each are allowed.
        Mode `quality` bounds the loss against the baseline effort; where a cap excludes it, the
        allowed effort nearest to it stands in for it.
        """
        route = self._route(messages, allowed, policy, kind, composites)
        if self.artifact is None or self.artifact.calibrated:
            return route
        judgement = replace(route.estimate, budget={}) if route.estimate else route.judgement
        return replace(route, judgement=judgement, calibrated=False)

    def _route(
        self,
        messages: object,
        allowed: Sequence[str] | None,
        policy: Policy,
        kind: str | None,
        composites: bool,
    ) -> Route:
        artifact = self.artifact
        if artifact is None:
            candidates: list[str] = []
            judgement = Abstention(self.unusable or "no router artifact")
        else:
            candidates = self._candidates(artifact, allowed)
            judgement = _judge(artifact, messages, candidates, kind)
        if policy.mode == "fixed" and policy.effort is not None:
            trusted = judgement if isinstance(judgement, Estimate) else None
            effort = self._within(policy.effort, allowed)
            return Route(effort, trusted, f"the policy gives every request {effort}")
        fallback = self._within(self.baseline, allowed)
        if isinstance(judgement, Abstention):
            return Route(
                fallback,
                judgement,
                f"{judgement.cause}, so the request gets the baseline {fallback}",
            )
        assert artifact is not None
        point, added = artifact.prices.point_for(policy), ()
        if composites and artifact.composite_prices and _allows(artifact, allowed):
            point_with = artifact.composite_prices.point_for(policy)
            if point_with.leaves_baseline:
                point, added = point_with, artifact.composites
                candidates += [composite.name for composite in added]
        kinds = artifact.parameters.kinds
        if kinds.unknown(kind):
            point = replace(point, margin=point.margin + kinds.guard)
        if not point.bounded:
            judgement = replace(judgement, budget={})
        if not point.leaves_baseline:
            but = " but by budgets" if point.bounded else ""
            loss = f"{policy.max_loss:.4g}"
            return Route(
                fallback,
                judgement,
                f"no saving{but} is certified at a loss of {loss} in accuracy, so every request "
                f"gets the baseline {fallback}",
            )
        if not point.dearer and fallback not in candidates:
            reason = f"the router has no estimate for {fallback}, which stands in for the baseline"
            return Route(fallback, judgement, reason)
        effort = choose(judgement, point, candidates, fallback)
        reason = why(judgement, point, candidates, fallback, effort) + kinds.explain(kind)
        composite = next((each for each in added if each.name == effort), None)
        names = tuple(each.name for each in added)
        return Route(effort, judgement, reason, composite=composite, composites=names)

    def _candidates(self, artifact: Artifact, allowed: Sequence[str] | None) -> list[str]:
        """The efforts that may be chosen, cheapest first."""
        ladder = artifact.efforts
        if not artifact.calibrated:  # may cost no more than the baseline would
            ladder = ladder[: ladder.index(self.baseline) + 1]
        return [effort for effort in ladder if allowed is None or effort in allowed]

    def _within(self, effort: str, allowed: Sequence[str] | None) -> str:
        """The allowed effort nearest to `effort`; of efforts without a rank, the last allowed."""
        ladder = allowed if allowed else self.efforts
        if effort in ladder:
            return effort
        ranked: list[Effort] = [level for level in ladder if is_effort(level)]
        return nearest(effort, ranked) if is_effort(effort) and ranked else ladder[-1]


def _allows(artifact: Artifact, allowed: Sequence[str] | None) -> bool:
    """Whether both efforts of every composite are allowed."""
    return allowed is None or all(
        effort in allowed for composite in artifact.composites for effort in composite.efforts
    )


def _judge(
    artifact: Artifact, messages: object, candidates: Sequence[str], kind: str | None
) -> Estimate | Abstention:
    """The estimate for `messages`, or why there is none that can be trusted."""
    conversation = read_messages(messages)
    if not artifact.calibrated:  # fitted on questions alone, and on no model's usual prompts
        conversation = question(conversation)
    if conversation.unreadable is not None:
        return Abstention(conversation.unreadable)
    try:
        judgement = _estimated(artifact, conversation, kind)
    except (ArithmeticError, ValueError, RecursionError, MemoryError) as error:
        return Abstention(f"the estimate failed: {error}")
    if isinstance(judgement, Abstention):
        return judgement
    if not candidates:
        return Abstention("the router has no estimate for any allowed effort")
    if is_hopeless(judgement, candidates, artifact.prices):
        return Abstention("every effort is likely to fail")
    return judgement


def _estimated(
    artifact: Artifact, conversation: Conversation, kind: str | None
) -> Estimate | Abstention:
    """The estimate of a prompt like those of the fit. Raises ArithmeticError: it is not finite."""
    parameters = artifact.parameters
    unlike = unlike_by_system(parameters, conversation.has_system)
    if unlike is None:
        prompt = read_prompt(conversation)
        if prompt.wordless:
            return Abstention("the prompt has no words and no numbers")
        projected = parameters.project(prompt)
        unlike = out_of_distribution(parameters, projected)
        if unlike is None:
            return estimate(parameters, artifact.columns, projected, kind)
    return Abstention(f"the prompt is unlike those of the fit ({unlike})")
