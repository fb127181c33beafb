"""A closed request as a row of the ledger, without any text of the prompt or the answer."""

import time
from collections.abc import Mapping
from typing import Any

from router.features import FEATURES_VERSION
from server.decide.decision import Decision
from server.ledger.schema import to_json
from server.lifecycle.record import RequestRecord

_MAX_INTEGER = 2**31 - 1
_REASON_CHARACTERS = 512
_ABSTAINED_CHARACTERS = 256
_KIND_CHARACTERS = 128


def _allowed(decision: Decision, values: Mapping[str, float]) -> Mapping[str, float]:
    """The values of the efforts that the API key allows; no policy could choose another one."""
    if len(decision.allowed) in (0, len(values)):
        return values
    return {effort: value for effort, value in values.items() if effort in decision.allowed}


def row_of(record: RequestRecord) -> dict[str, Any] | None:
    """The row of a request, as parameters for a database driver.

    None if the request was refused before a decision.
    """
    decision = record.decision
    if decision is None or record.closed_at is None:
        return None
    draw, estimate, usage = decision.draw, decision.estimate, record.spent
    streamed = record.stream and record.first_byte_at is not None
    return {
        "request_id": record.request_id,
        "at": time.time(),
        "model": record.model,
        "key": record.caller,
        "conversation": record.thread.conversation if record.thread else None,
        "agent": record.thread.agent_hash if record.thread else None,
        "answer": record.answer,
        "response": record.response,
        "loop_turn": record.loop_turn,
        "kind": decision.kind and decision.kind[:_KIND_CHARACTERS],
        "arm": decision.arm,
        "p_treated": draw.shares.treated if draw else None,
        "p_holdout": draw.shares.holdout if draw else None,
        "p_explore": draw.p_each if draw else None,
        "effort": decision.choice,
        "source": decision.source,
        "routed": decision.routed_choice,
        "pinned": decision.pinned,
        "baseline": decision.baseline_effort,
        "calibrated": decision.calibrated,
        "features": FEATURES_VERSION,
        "baseline_tokens": record.baseline_tokens,
        "baseline_p_correct": estimate and estimate.p_correct.get(decision.baseline_effort),
        "p_correct": estimate and to_json(_allowed(decision, estimate.p_correct)),
        "expected_tokens": estimate and to_json(_allowed(decision, estimate.tokens)),
        "budget": None if decision.budget is None else min(decision.budget, _MAX_INTEGER),
        "budget_source": decision.budget_source,
        "budget_hit": record.budget_hit,
        "choices": min(record.choices, _MAX_INTEGER),
        "prompt_tokens": usage.prompt if usage else None,
        "cached_tokens": usage.cached if usage else None,
        "cache_write_tokens": usage.cache_writes if usage else None,
        "thinking_tokens": usage.thinking if usage else None,
        "answer_tokens": usage.answer if usage else None,
        "unsplit_tokens": usage.completion if usage and usage.thinking is None else None,
        "ttft_seconds": (record.first_byte_at or 0) - record.opened_at if streamed else None,
        "first_answer_seconds": record.first_answer_seconds,
        "seconds": record.closed_at - record.opened_at,
        "status": record.status,
        "abstained": decision.abstained and decision.abstained[:_ABSTAINED_CHARACTERS],
        "reason": decision.reason[:_REASON_CHARACTERS],
        "score": None,
        "scored_at": None,
    }
