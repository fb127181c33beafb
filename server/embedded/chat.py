"""One chat completion: from a validated request to the text of its choices, and their JSON."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from server.embedded.checkpoint import Checkpoint, PromptError
from server.embedded.decoder import Draw
from server.embedded.generation import BlockToken, Finish, Generation, Sampling, Scheduler
from server.embedded.protocol import ChatRequest
from server.embedded.text import Piece, Text


class BadRequest(Exception):  # noqa: N818 - named as HTTP names it
    """A request that cannot be served; the message says what to change."""


class GenerationFailed(Exception):  # noqa: N818
    """The model failed while generating."""


@dataclass
class Choice:
    """One choice: its text so far and how it ended."""

    index: int
    text: Text
    generation: Generation | None = None
    finish: str | None = None
    reasoning: str = ""
    content: str = ""
    logprobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class Completion:
    """One request in generation; iterate `pieces`, and leave the iteration to stop all choices.

    Args:
        request: the validated body.
        checkpoint: the model.
        model: its name.
        prompt: token ids.
        in_reasoning: whether the prompt ends inside a reasoning block.
    """

    def __init__(
        self,
        request: ChatRequest,
        checkpoint: Checkpoint,
        model: str,
        prompt: list[int],
        in_reasoning: bool,
    ) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.model = model
        self.request = request
        self._checkpoint = checkpoint
        self._prompt = prompt
        self._in_reasoning = in_reasoning
        tokenizer = checkpoint.tokenizer
        self.choices = [Choice(i, Text(tokenizer, request.stop)) for i in range(request.n)]

    async def pieces(
        self, scheduler: Scheduler, on_token: Callable[[], None]
    ) -> AsyncGenerator[tuple[Choice, Piece]]:
        """Every piece of every choice as it is generated; `finish` is set with a choice's last one.

        `on_token` is called for each token that is generated, from any thread.

        Raises:
            GenerationFailed: the model failed.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[Choice, list[BlockToken | Finish]]] = asyncio.Queue()
        immediate = self.request.stream or bool(self.request.stop)

        def start(choice: Choice) -> None:
            steps: list[BlockToken | Finish] = []

            def emit(step: BlockToken | Finish) -> None:
                nonlocal steps
                steps.append(step)
                if isinstance(step, BlockToken):
                    on_token()
                    if not immediate:
                        return  # waking the event loop costs as much as the token
                loop.call_soon_threadsafe(queue.put_nowait, (choice, steps))
                steps = []

            choice.generation = Generation(
                self._checkpoint,
                self._prompt,
                self._in_reasoning,
                self._sampling(choice.index),
                emit,
            )
            scheduler.start(choice.generation, on_failure=lambda: emit("error"))

        for choice in self.choices:
            start(choice)
        try:
            while any(choice.finish is None for choice in self.choices):
                choice, steps = await queue.get()
                for step in steps:
                    if choice.finish is None:
                        yield choice, self._advance(choice, step)
        finally:
            for choice in self.choices:
                if choice.generation is not None:
                    choice.generation.cancelled = True

    def usage(self) -> dict[str, Any]:
        """The usage object of all choices, in vLLM's form."""
        completion = sum(choice.text.completion_tokens for choice in self.choices)
        reasoning = sum(choice.text.reasoning_tokens for choice in self.choices)
        return {
            "prompt_tokens": len(self._prompt),
            "completion_tokens": completion,
            "total_tokens": len(self._prompt) + completion,
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }

    def _sampling(self, index: int) -> Sampling:
        request, defaults = self.request, self._checkpoint.defaults

        def default(name: str, neutral: float) -> float:
            requested = getattr(request, name)
            return requested if requested is not None else defaults.get(name, neutral)

        room = self._checkpoint.context - len(self._prompt)
        return Sampling(
            draw=Draw(
                temperature=default("temperature", 1.0),
                top_p=default("top_p", 1.0),
                top_k=int(default("top_k", 0)),
            ),
            max_tokens=min(request.limit or room, room),
            budget=request.budget,
            seed=None if request.seed is None else request.seed + index,
        )

    def _advance(self, choice: Choice, step: BlockToken | Finish) -> Piece:
        if step == "error":
            raise GenerationFailed("the model failed while generating")
        if isinstance(step, BlockToken):
            piece = choice.text.add(step)
        else:
            choice.finish = step
            piece = Piece(content=choice.text.flush())
        if choice.text.stopped:
            choice.finish = "stop"
            assert choice.generation is not None
            choice.generation.cancelled = True
        choice.reasoning += piece.reasoning
        choice.content += piece.content
        if self.request.logprobs and piece.token is not None:
            choice.logprobs.append(token_logprob(piece))
        return piece


def prepare(request: ChatRequest, checkpoint: Checkpoint, model: str) -> Completion:
    """Render and tokenise the prompt. Slow for long prompts: call it in a thread.

    Raises:
        BadRequest: the template refuses the messages, or they do not fit the context.
    """
    variables = dict(request.chat_template_kwargs)
    if request.reasoning_effort is not None:
        variables["reasoning_effort"] = request.reasoning_effort
        if request.reasoning_effort == "none":
            variables.setdefault("enable_thinking", False)
    messages = [message.model_dump(exclude_unset=True) for message in request.messages]
    try:
        text = checkpoint.render(
            messages, variables, request.add_generation_prompt, request.continue_final_message
        )
        prompt = checkpoint.encode(text)
    except PromptError as error:
        raise BadRequest(str(error)) from error
    max_completion = checkpoint.context - len(prompt)
    if max_completion < 1:
        raise BadRequest(
            f"This model's maximum context length is {checkpoint.context} tokens. However, the "
            f"request has at least {len(prompt)} prompt tokens: shorten the messages"
        )
    return Completion(request, checkpoint, model, prompt, checkpoint.opens_block(text))


def response_body(completion: Completion) -> dict[str, Any]:
    """The JSON body of a completion that is not streamed."""
    return {
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": completion.model,
        "choices": [
            {
                "index": choice.index,
                "message": {
                    "role": "assistant",
                    "reasoning": choice.reasoning or None,
                    "content": choice.content,
                },
                "logprobs": {"content": choice.logprobs} if completion.request.logprobs else None,
                "finish_reason": choice.finish,
            }
            for choice in completion.choices
        ],
        "usage": completion.usage(),
    }


def chunk(
    completion: Completion, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON body of one event of a stream."""
    body: dict[str, Any] = {
        "id": completion.id,
        "object": "chat.completion.chunk",
        "created": completion.created,
        "model": completion.model,
        "choices": choices,
    }
    if usage is not None:
        body["usage"] = usage
    return body


def chunk_choice(
    choice: Choice, delta: dict[str, Any], logprobs: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A choice of an event, with the choice's finish reason so far."""
    return {
        "index": choice.index,
        "delta": delta,
        "logprobs": {"content": logprobs} if logprobs else None,
        "finish_reason": choice.finish,
    }


def first_chunk_choice(choice: Choice) -> dict[str, Any]:
    """The choice of the event that opens it, sent once its first token is generated."""
    delta = {"role": "assistant", "content": ""}
    return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": None}


def token_logprob(piece: Piece) -> dict[str, Any]:
    """The logprob entry of a token of the answer, in OpenAI's form."""
    token = piece.token or ""
    return {
        "token": token,
        "logprob": piece.logprob,
        "bytes": list(token.encode()),
        "top_logprobs": [],
    }
