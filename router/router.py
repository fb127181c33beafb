"""The router at run time: messages in, a decision out, and never an exception.

Whatever it cannot judge goes to the baseline effort, and the route says why. It keeps no state:
the conversation's memory is the gateway's (`router.conversation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from router.artifact import Artifact, ArtifactError, load
from router.effort import Effort, is_effort, nearest
from router.estimate import Estimate, estimate, foreign
from router.features import read_prompt
from router.messages import read_messages
from router.policy import Policy, choose, explain

DEFAULT_POLICY = Policy()
PORTABLE = Path(__file__).with_name("portable.json")
"""The router for models that have no outcomes yet; `models.studies.portable` fits it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A decision: `reason` is a sentence; `abstained` says why the router did not judge, if so.

    `calibrated` is False where the estimate is not of the model that is served.
    """

    effort: str
    estimate: Estimate | None
    reason: str
    abstained: str | None = None
    calibrated: bool = True

    @property
    def budget(self) -> int | None:
        """The thinking-token budget that goes with the effort; None when no estimate is trusted."""
        if self.estimate is None or self.abstained is not None:
            return None
        return self.estimate.budget.get(self.effort)


@dataclass(frozen=True)
class Router:
    """Routes prompts for one model; without an artifact, or with an `unusable` one, it abstains."""

    efforts: tuple[str, ...]
    baseline: str
    artifact: Artifact | None = None
    unusable: str | None = None

    @classmethod
    def load(cls, path: str | Path, weights: str | None = None) -> "Router":
        """The router of an artifact, checked against the hash of the weights being served.

        Raises ArtifactError. With `weights` None the check is left out.
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
        """The shipped router for models without outcomes. Raises ArtifactError for other ladders.

        It stands for no model in particular: it sets no budget, and never chooses above `baseline`.
        """
        artifact = load(PORTABLE)
        if baseline not in artifact.efforts:
            raise ArtifactError(
                f"the portable router knows the efforts {', '.join(artifact.efforts)}, not the "
                f"baseline {baseline}: set baseline_effort to one of them, or use no router"
            )
        return cls(tuple(efforts), baseline, artifact)

    @classmethod
    def without_artifact(
        cls, efforts: Sequence[str], baseline: str, reason: str = "no router artifact"
    ) -> "Router":
        """A router that always abstains, for instance with the message of an ArtifactError."""
        if baseline not in efforts:
            raise ValueError(f"baseline effort {baseline!r} is not one of {', '.join(efforts)}")
        return cls(tuple(efforts), baseline, None, reason)

    @property
    def state(self) -> str:
        """What operators are told of it: `fitted`, `uncalibrated`, or why it always abstains."""
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

        `allowed` None means all; the promise of mode `quality` is against the baseline effort, or
        against the best allowed one where a cap shuts the baseline out.
        """
        route = self._route(messages, allowed, policy)
        if self.artifact is None or self.artifact.calibrated:
            return route
        estimate = route.estimate and replace(route.estimate, budget={})
        return replace(route, estimate=estimate, calibrated=False)

    def _route(self, messages: object, allowed: Sequence[str] | None, policy: Policy) -> Route:
        if policy.mode == "fixed" and policy.effort is not None:
            effort = self._within(policy.effort, allowed)
            found = self._judge(messages, allowed, policy, effort)
            trusted = None if found.abstained else found.estimate
            return Route(effort, trusted, "the policy fixes the effort")
        return self._judge(messages, allowed, policy, self._within(self.baseline, allowed))

    def _judge(
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
            place = artifact.parameters.place(prompt)
            found = estimate(artifact.parameters, artifact.efforts, place)
            strange = foreign(artifact.parameters, place)
        except (ArithmeticError, ValueError, RecursionError, MemoryError) as error:
            return _abstain(fallback, f"the estimator failed: {error}")
        if strange is not None:
            return _abstain(fallback, f"unlike the prompts of the fit ({strange})", found)
        return self._decide(artifact, found, policy, allowed, fallback)

    def _decide(
        self,
        artifact: Artifact,
        found: Estimate,
        policy: Policy,
        allowed: Sequence[str] | None,
        fallback: str,
    ) -> Route:
        if policy.mode == "fixed":
            return Route(fallback, found, "the policy fixes the effort")
        ladder = artifact.efforts
        if not artifact.calibrated:  # never dearer than without a router, on a guess
            ladder = ladder[: ladder.index(self.baseline) + 1]
        open_to = [effort for effort in ladder if allowed is None or effort in allowed]
        if not open_to:
            return _abstain(fallback, "no allowed effort was fitted", found)
        price = artifact.prices.of(policy)
        if price is None:
            reason = f"no saving is certified at a loss of {policy.max_loss:g}: baseline effort"
            return Route(fallback, found, reason)
        effort = choose(found, price, open_to)
        return Route(effort, found, explain(found, price, open_to, effort))

    def _within(self, effort: str, allowed: Sequence[str] | None) -> str:
        """The allowed effort nearest to `effort`."""
        ladder = allowed if allowed else self.efforts
        if effort in ladder:
            return effort
        known: list[Effort] = [level for level in ladder if is_effort(level)]
        return nearest(effort, known) if is_effort(effort) and known else ladder[-1]


def _abstain(effort: str, why: str, found: Estimate | None = None) -> Route:
    return Route(effort, found, f"{why}: baseline effort", why)
