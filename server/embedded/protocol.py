"""The body of a chat request to the embedded engine: vLLM's fields, validated before generation.

Unsupported fields that would change the answer are refused; unknown fields are ignored, as in vLLM.
"""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
    "structured_outputs": (None,),
    "logit_bias": (None, {}),
    "top_logprobs": (None, 0),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "min_p": (None, 0),
    "min_tokens": (None, 0),
    "stop_token_ids": (None, []),
    "echo": (None, False),
    "audio": (None,),
    "prompt_logprobs": (None,),
    "function_call": (None, "none", "auto"),
    "modalities": (None, ["text"]),
    "best_of": (None, 1),
    "use_beam_search": (None, False),
    "bad_words": (None, []),
    "allowed_token_ids": (None,),
    "ignore_eos": (None, False),
    "include_stop_str_in_output": (None, False),
    "skip_special_tokens": (None, True),
    "include_reasoning": (None, True),
    "chat_template": (None,),
    "truncate_prompt_tokens": (None,),
}
"""Fields of vLLM that this engine does not support, with the values that change nothing."""

_ENGINE_VARIABLES = ("messages", "add_generation_prompt")
"""Variables of the chat template that the engine itself sets."""


class StreamOptions(BaseModel):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class Message(BaseModel):
    """A message; the chat template validates its content."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str | list[dict[str, Any]] | None = None


class ChatRequest(BaseModel):
    """The body of `POST /v1/chat/completions`."""

    model_config = ConfigDict(extra="allow")

    messages: list[Message] = Field(min_length=1)
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(1, ge=1, le=16)
    stop: list[str] = Field(default_factory=list, max_length=16)
    seed: int | None = None
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    reasoning_effort: ReasoningEffort | None = None
    thinking_token_budget: int | None = Field(None, ge=-1, strict=True)
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    add_generation_prompt: bool = True
    continue_final_message: bool = False

    @field_validator("stop", mode="before")
    @classmethod
    def _as_list(cls, stop: object) -> object:
        if stop is None:
            return []
        return [stop] if isinstance(stop, str) else stop

    @field_validator("stop")
    @classmethod
    def _nonempty(cls, stop: list[str]) -> list[str]:
        if "" in stop:
            raise ValueError("a stop string must not be empty")
        return stop

    @field_validator(
        "n",
        "stream",
        "logprobs",
        "chat_template_kwargs",
        "add_generation_prompt",
        "continue_final_message",
        mode="before",
    )
    @classmethod
    def _null_is_default(cls, value: object, info: ValidationInfo) -> object:
        assert info.field_name
        field = cls.model_fields[info.field_name]
        return field.get_default(call_default_factory=True) if value is None else value

    @field_validator("chat_template_kwargs")
    @classmethod
    def _model_variables_only(cls, variables: dict[str, Any]) -> dict[str, Any]:
        for name in _ENGINE_VARIABLES:
            if name in variables:
                raise ValueError(f"{name} is set by the engine: leave it out")
        return variables

    @model_validator(mode="after")
    def _continuable(self) -> Self:
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError("continue_final_message needs add_generation_prompt: false")
        message = self.messages[-1]
        if self.continue_final_message and not (
            message.role == "assistant" and isinstance(message.content, str)
        ):
            raise ValueError("continue_final_message needs an assistant message at the end")
        return self

    @model_validator(mode="after")
    def _supported(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if name in _NEUTRAL and value not in _NEUTRAL[name]:
                raise ValueError(f"{name} is not supported by the embedded engine: leave it out")
        return self

    @property
    def budget(self) -> int | None:
        """Thinking tokens at most; None, which vLLM also spells -1, without a limit."""
        budget = self.thinking_token_budget
        return None if budget == -1 else budget

    @property
    def limit(self) -> int | None:
        """The requested maximum of completion tokens."""
        return self.max_completion_tokens or self.max_tokens
