"""The router at run time: messages in, a decision out, and never an exception.

Whatever it cannot estimate gets the baseline effort, and the route says why. It keeps no state: the
gateway remembers the effort of a conversation (`router.conversation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from router.artifact import Artifact, ArtifactError, load
from router.effort import Effort, is_effort, nearest
from router.estimate import Estimate, estimate, out_of_distribution
from router.features import read_prompt
from router.messages import read_messages
from router.policy import Policy, choose, explain

DEFAULT_POLICY = Policy()
PORTABLE = Path(__file__).with_name("portable.json")
"""The router for models without outcomes; `models.studies.portable` fits it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A decision, and the sentence that explains it (`reason`).

    `abstained`: why the router made no estimate of its own, else None. `calibrated` is False where
    the estimate is not of the model that is served.
    """

    effort: str
    estimate: Estimate | None
    reason: str
    abstained: str | None = None
    calibrated: bool = True

    @property
    def budget(self) -> int | None:
        """The thinking-token budget of the effort; None without a trusted estimate."""
        if self.estimate is None or self.abstained is not None:
            return None
        return self.estimate.budget.get(self.effort)


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
    ) -> Route:
        """Decide the effort for `messages`, any JSON value, among the `allowed` efforts.

        `allowed` None means all. Mode `quality` bounds the loss against the baseline effort, or
        against the best allowed one where a cap excludes the baseline.
        """
        route = self._route(messages, allowed, policy)
        if self.artifact is None or self.artifact.calibrated:
            return route
        estimate = route.estimate and replace(route.estimate, budget={})
        return replace(route, estimate=estimate, calibrated=False)

    def _route(self, messages: object, allowed: Sequence[str] | None, policy: Policy) -> Route:
        if policy.mode == "fixed" and policy.effort is not None:
            effort = self._within(policy.effort, allowed)
            route = self._estimated(messages, allowed, policy, effort)
            trusted = None if route.abstained else route.estimate
            return Route(effort, trusted, "the policy fixes the effort")
        return self._estimated(messages, allowed, policy, self._within(self.baseline, allowed))

    def _estimated(
        self, messages: object, allowed: Sequence[str] | None, policy: Policy, fallback: str
    ) -> Route:
        artifact = self.artifact
        if artifact is None:
            return _abstain(fallback, self.unusable or "no router artifact")
        conversation = read_messages(messages)
        if conversation.unreadable is not None:
            return _abstain(fallback, conversation.unreadable)
        try:
            prompt = read_prompt(conversation)
            if prompt.wordless:
                return _abstain(fallback, "the prompt has no words and no numbers")
            projected = artifact.parameters.project(prompt)
            expected = estimate(artifact.parameters, artifact.efforts, projected)
            unlike = out_of_distribution(artifact.parameters, projected)
        except (ArithmeticError, ValueError, RecursionError, MemoryError) as error:
            return _abstain(fallback, f"the estimate failed: {error}")
        if unlike is not None:
            return _abstain(fallback, f"the prompt is unlike those of the fit ({unlike})", expected)
        return self._decide(artifact, expected, policy, allowed, fallback)

    def _decide(
        self,
        artifact: Artifact,
        expected: Estimate,
        policy: Policy,
        allowed: Sequence[str] | None,
        fallback: str,
    ) -> Route:
        if policy.mode == "fixed":
            return Route(fallback, expected, "the policy fixes the effort")
        ladder = artifact.efforts
        if not artifact.calibrated:  # may cost no more than the baseline would
            ladder = ladder[: ladder.index(self.baseline) + 1]
        candidates = [effort for effort in ladder if allowed is None or effort in allowed]
        if not candidates:
            return _abstain(fallback, "the router has no estimate for any allowed effort", expected)
        price = artifact.prices.price_for(policy)
        if price is None:
            reason = f"no saving is certified at a loss of {policy.max_loss:g}: baseline effort"
            return Route(fallback, expected, reason)
        effort = choose(expected, price, candidates)
        return Route(effort, expected, explain(expected, price, candidates, effort))

    def _within(self, effort: str, allowed: Sequence[str] | None) -> str:
        """The allowed effort nearest to `effort`; of efforts without a rank, the last allowed."""
        ladder = allowed if allowed else self.efforts
        if effort in ladder:
            return effort
        ranked: list[Effort] = [level for level in ladder if is_effort(level)]
        return nearest(effort, ranked) if is_effort(effort) and ranked else ladder[-1]


def _abstain(effort: str, cause: str, expected: Estimate | None = None) -> Route:
    return Route(effort, expected, f"{cause}: baseline effort", cause)
