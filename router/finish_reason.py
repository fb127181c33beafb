"""What the finish and stop reasons of engines mean, in all of their spellings."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

FinishMeaning = Literal["end", "cut", "call", "filter", "error"]
"""The model ended its answer; a limit of tokens did; it called a tool; a filter ended it; an
error did."""

_SPELLINGS: Mapping[FinishMeaning, str] = {
    # OpenAI, Hugging Face's TGI, Anthropic, Together, Cohere, Titan, xAI, vLLM
    "end": "stop eos eos_token end_turn stop_sequence stop_sequences stop_str stop_word end_of_turn"
    " end_of_text end complete completed finish finished done repetition",
    # OpenAI, Gemini, Responses, Mistral, Anthropic, llama.cpp's own API, TGI, xAI
    "cut": "length max_tokens max_output_tokens max_new_tokens max_completion_tokens max_length"
    " max_len max_output max_context model_length context_length context_length_exceeded"
    " model_context_window_exceeded token_limit limit incomplete truncated",
    "call": "tool_calls tool_call tool_use function_call function_calls",
    # OpenAI, Gemini, Anthropic, Bedrock, Zhipu
    "filter": "content_filter content_filtered safety recitation blocklist prohibited_content spii"
    " refusal refused guardrail_intervened sensitive blocked",
}
_MEANINGS: Mapping[str, FinishMeaning] = {
    word: meaning for meaning, words in _SPELLINGS.items() for word in words.split()
}

_FAILED = re.compile(
    "error|abort|cancel|fail|time_?out|overload|exception|insufficient_system_resource"
)
"""In reasons of answers that an error ended: of OpenRouter and Mistral, SGLang, DeepSeek."""

_DECORATION = re.compile(r"^(?:.*\.)?(?:finish_reason_|stop_reason_|reason_)?(?=.)")
"""Of enumerations: `FinishReason.STOP`, `FINISH_REASON_MAX_TOKENS`, `REASON_STOP`."""

_MAX_CHARACTERS = 100
"""Of a reason, those that are read."""


def finish_meaning(reason: object) -> FinishMeaning | None:
    """What a finish or stop reason means; None where there is none, or an unknown one."""
    return _meaning(reason[:_MAX_CHARACTERS]) if isinstance(reason, str) else None


@lru_cache(1024)
def _meaning(reason: str) -> FinishMeaning | None:
    word = re.sub(r"[\s-]+", "_", reason.strip().casefold())
    meaning = _MEANINGS.get(word) or _MEANINGS.get(_DECORATION.sub("", word))
    return meaning or ("error" if _FAILED.search(word) else None)
