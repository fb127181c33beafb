"""The efforts that are not offered to the router, because they do not do what their names say.

A client may still ask for one. What a router, the holdout or a pinned conversation would get is the
effort that stands in for it: of efforts that do the same, the lowest.
"""

from collections.abc import Mapping
from dataclasses import replace

from router.effort import Effort, is_effort
from router.policy import Policy
from router.router import Router
from server.engines.effort_effects import LevelEffect

Withheld = Mapping[Effort, LevelEffect]


def offered(allowed: tuple[Effort, ...], withheld: Withheld) -> tuple[Effort, ...]:
    """The allowed efforts that are not withheld; all of them where none would remain."""
    if not withheld:
        return allowed
    return tuple(effort for effort in allowed if effort not in withheld) or allowed


def stand_in(effort: Effort, withheld: Withheld) -> Effort:
    """The effort itself, or the one that a router gets instead."""
    level = withheld.get(effort)
    return level.stand_in or effort if level else effort


def without_withheld(router: Router, policy: Policy, withheld: Withheld) -> tuple[Router, Policy]:
    """The router and the policy, whose baseline and fixed effort may be withheld."""
    if not withheld:
        return router, policy
    if is_effort(router.baseline):
        router = replace(router, baseline=stand_in(router.baseline, withheld))
    if policy.effort is not None and is_effort(policy.effort):
        policy = replace(policy, effort=stand_in(policy.effort, withheld))
    return router, policy
