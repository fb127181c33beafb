"""What is sent: each conversation once in every arm, by clients of every kind."""

import random
from dataclasses import dataclass

from loadtest.plan import Arm, Client, Clients, Plan
from loadtest.problems import Conversation


@dataclass(frozen=True)
class Task:
    """A conversation to be had in an arm; `budget` is in thinking tokens, the same at each turn."""

    conversation: Conversation
    arm: Arm
    budget: int | None = None
    client: Client = "waiting"


def plan_tasks(plan: Plan, conversations: list[Conversation]) -> list[Task]:
    """Shuffled: whatever the machine does then hits all arms alike. The same for a plan's seed."""
    rng = random.Random(plan.seed)
    tasks: list[Task] = []
    for conversation in conversations:
        client = _drawn(plan.clients, rng)
        for arm in plan.arms:
            budget = rng.randint(*arm.budget) if arm.budget else None
            tasks.append(Task(conversation, arm, budget, client))
    rng.shuffle(tasks)
    return tasks


def _drawn(clients: Clients, rng: random.Random) -> Client:
    draw = rng.random()
    for kind in ("disconnecting", "slow", "malformed"):
        draw -= getattr(clients, kind)
        if draw < 0:
            return kind
    return "waiting"
