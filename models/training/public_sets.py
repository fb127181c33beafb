"""Public problem sets on the Hugging Face hub, and what their columns hold."""

from collections.abc import Mapping
from typing import Any

_NUMBER_LAST = "\n\nGive the final answer as a number at the end."
_BOXED_LAST = "\n\nPut the final answer in \\boxed{} at the end."

PUBLIC_SETS: Mapping[str, Mapping[str, Any]] = {
    "gsm8k": {
        "dataset": "openai/gsm8k",
        "config": "main",
        "columns": {
            "prompt": "question",
            "answer": "answer",
            "problem_id": None,
            "difficulty": None,
        },
        "answer_in": "after ####",
        "ask": _NUMBER_LAST,
    },
    "math": {
        "dataset": "HuggingFaceH4/MATH-500",
        "split": "test",
        "columns": {
            "prompt": "problem",
            "answer": "answer",
            "problem_id": "unique_id",
            "difficulty": "level",
        },
        "ask": _BOXED_LAST,
    },
    "numinamath": {
        "dataset": "AI-MO/NuminaMath-1.5",
        "no_answers": ["", "proof", "notfound"],
        "columns": {
            "prompt": "problem",
            "answer": "answer",
            "problem_id": None,
            "difficulty": None,
        },
        "ask": _BOXED_LAST,
    },
    "aime": {
        "dataset": "HuggingFaceH4/aime_2024",
        "columns": {
            "prompt": "problem",
            "answer": "answer",
            "problem_id": "id",
            "difficulty": None,
        },
        "ask": _BOXED_LAST,
    },
}
"""Keys of a recipe's source for each name that it may give as `public`."""
