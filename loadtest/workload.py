"""The requests of a plan: every conversation in every arm, each with a kind of client."""

import random
from dataclasses import dataclass

from loadtest.plan import Arm, Client, Clients, Plan
from loadtest.problem import Conversation


@dataclass(frozen=True)
class Task:
    """A conversation in an arm.

    Attributes:
        budget: thinking tokens, the same for every turn.
        offered_rate: conversations per second of its stage in a sweep.
    """

    conversation: Conversation
    arm: Arm
    budget: int | None = None
    client: Client = "normal"
    offered_rate: float | None = None


def plan_tasks(plan: Plan, conversations: list[Conversation]) -> list[Task]:
    """All tasks, shuffled so that disturbances affect all arms alike; fixed by the plan's seed."""
    rng = random.Random(plan.seed)
    tasks: list[Task] = []
    for conversation in conversations:
        client = _draw_client(plan.clients, rng)
        for arm in plan.arms:
            budget = rng.randint(*arm.budget) if arm.budget else None
            tasks.append(Task(conversation, arm, budget, client))
    rng.shuffle(tasks)
    return tasks


def _draw_client(clients: Clients, rng: random.Random) -> Client:
    draw = rng.random()
    for kind in ("disconnecting", "slow", "malformed", "closing"):
        draw -= getattr(clients, kind)
        if draw < 0:
            return kind
    return "normal"
