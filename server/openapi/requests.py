"""Request bodies, as far as the gateway reads them.

Bodies that are forwarded to the engine may have any other field of the API: it is passed on
unchanged. The endpoints do not validate with these models; `server.api` parses what it needs.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.effort import Effort

EffortOrAuto = Effort | Literal["ultra", "auto"] | Annotated[float, Field(ge=0, le=0.99)]
_BUDGET = "Thinking tokens at most, -1 for no limit; refused where the engine cannot enforce it."
_EFFORT = "How hard to think; `auto`, the default, leaves it to the router."
_MODEL = "The served model; default: the one there is."


class Forwarded(BaseModel):
    """A body whose other fields are forwarded to the engine unchanged."""

    model_config = ConfigDict(extra="allow")

    model: str | None = Field(None, description=_MODEL)


class ChatMessage(BaseModel):
    """One message of a conversation; other fields, such as tool_calls, are passed on."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str | list[Any] | None = Field(None, description="A text, or a list of parts.")


class ReasoningOptions(BaseModel):
    """`reasoning`, as OpenRouter and the Responses API have it."""

    model_config = ConfigDict(extra="allow")

    effort: EffortOrAuto | None = None
    max_tokens: int | None = Field(None, ge=0, description=_BUDGET)
    enabled: bool | None = None


class StreamOptions(BaseModel):
    """Options of a stream; allowed only with `stream: true`."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = Field(None, description="End the stream with a usage chunk.")


class ChatCompletionRequest(Forwarded):
    """The body of POST /v1/chat/completions and of POST /v1/route.

    Effort and budget are also read from the fields of other dialects.
    """

    messages: list[ChatMessage] = Field(min_length=1)
    reasoning_effort: EffortOrAuto | None = Field(None, description=_EFFORT)
    thinking_token_budget: int | None = Field(None, ge=-1, description=_BUDGET)
    reasoning: ReasoningOptions | None = None
    max_completion_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    n: int | None = Field(None, ge=1, description="Choices; budget and max_tokens hold for each.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class ResponsesReasoning(BaseModel):
    """`reasoning` of the Responses API."""

    model_config = ConfigDict(extra="allow")

    effort: EffortOrAuto | None = Field(None, description=_EFFORT)


class ResponseRequest(Forwarded):
    """The body of POST /v1/responses."""

    input: str | list[Any] = Field(description="A text, or a list of at least one item.")
    instructions: str | None = None
    reasoning: ResponsesReasoning | None = None
    thinking_token_budget: int | None = Field(None, ge=-1, description=_BUDGET)
    max_output_tokens: int | None = Field(None, ge=1)
    stream: bool | None = None


class Thinking(BaseModel):
    """`thinking` of the Messages API; `enabled` needs a budget, and only `enabled` has one."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="`enabled`, `disabled`, `adaptive`; words of newer SDKs count as `adaptive`."
    )
    budget_tokens: int | None = Field(None, ge=1024, description=_BUDGET)


class OutputConfig(BaseModel):
    """`output_config` of the Messages API."""

    model_config = ConfigDict(extra="allow")

    effort: EffortOrAuto | None = Field(None, description=_EFFORT)


class MessagesRequest(Forwarded):
    """The body of POST /v1/messages."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    system: str | list[Any] | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    stream: bool | None = None


class CompletionRequest(Forwarded):
    """The body of POST /v1/completions."""

    prompt: str | list[Any] | None = None
    thinking_token_budget: int | None = Field(None, ge=-1, description=_BUDGET)
    max_tokens: int | None = None
    stream: bool | None = None


class EmbeddingRequest(Forwarded):
    """The body of POST /v1/embeddings."""

    input: str | list[Any] | None = None


class CountTokensRequest(Forwarded):
    """The body of POST /v1/messages/count_tokens."""

    messages: list[Any] | None = None
    system: str | list[Any] | None = None


class FeedbackRequest(BaseModel):
    """The body of POST /v1/feedback.

    On a request: `request_id` with `correct` or `score`. On a conversation: `solved`, and one of
    `conversation`, `response_id` and `request_id`, or a header or body field that names it in the
    client's other requests.
    """

    model_config = ConfigDict(extra="forbid")

    request_id: str | None = Field(
        None, min_length=1, max_length=256, description="The header x-request-id of the response."
    )
    correct: bool | None = None
    score: float | None = Field(None, ge=0, le=1, description="1 for a right answer.")
    solved: bool | float | None = Field(
        None, description="Whether the conversation solved its task: true, false, or 0 to 1."
    )
    conversation: str | dict[str, Any] | None = Field(
        None, description="The name that the client gave to the conversation."
    )
    response_id: str | None = Field(
        None, min_length=1, max_length=256, description="The id of a response of the conversation."
    )
    session_id: str | None = None
    litellm_session_id: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, Any] | None = None
