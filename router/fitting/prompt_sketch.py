"""A sketch of the prompts of a fit, by which a replay on the same prompts is recognised.

The smallest of the prompts' hashes are a random sample of them, and the same one wherever it is
taken (Broder, "On the resemblance and containment of documents", 1997).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from heapq import nsmallest
from typing import cast

from router.fitting.outcomes import Outcome

SKETCH = "prompt_sketch"
"""Its name in an artifact's provenance."""
_SIZE = 64


def sketch(outcomes: Iterable[Outcome]) -> list[str]:
    """64-bit hashes of some dozens of the prompts."""
    return nsmallest(_SIZE, _hashes(outcomes))


def fitted_share(provenance: Mapping[str, object], outcomes: Iterable[Outcome]) -> float:
    """The share of the fit's prompts that `outcomes` have, estimated; 0 for older artifacts."""
    known = provenance.get(SKETCH)
    if not isinstance(known, list) or not known:
        return 0.0
    sample = set(cast("list[object]", known))
    return len(sample & _hashes(outcomes)) / len(sample)


def _hashes(outcomes: Iterable[Outcome]) -> set[str]:
    prompts = {outcome.problem_id: outcome.messages for outcome in outcomes}
    return {
        hashlib.blake2b(
            json.dumps(messages, sort_keys=True, default=str).encode(), digest_size=8
        ).hexdigest()
        for messages in prompts.values()
    }
