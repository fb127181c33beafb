"""A teacher and critic of the demo domain, on a real loopback socket.

It stands in for a large model behind an endpoint, which cannot run here: it solves stories by
their own traces at the effort that its system prompt asks for, answers every fifth request 429
first, and as a critic names the steps whose arithmetic is false.
"""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from app_server import served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from models.domain.reasoning_traces import answer_text, trace
from models.domain.stories import Story
from models.training.mistakes import wrong_sentences
from models.training.seed import INSTRUCTIONS

_STEP = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)


class Teacher:
    """What it knows, and what it was asked; `efforts` are those told, in the order of asking.

    `unreadable` are verdicts on problems, by their prompts. `served` is the name and the folder of
    the model that it says it serves. To the prompts of `cut` it thinks without an end.
    """

    def __init__(self, stories: Mapping[str, Story]) -> None:
        self.stories = stories
        self.efforts: list[str] = []
        self.asked = 0
        self.url = ""
        self.unreadable: dict[str, str] = {}
        self.cut: set[str] = set()
        self.served: tuple[str, str | None] = ("trained", "/nowhere")

    async def models(self, _: Request) -> JSONResponse:
        name, root = self.served
        return JSONResponse({"data": [{"id": name, "root": root}]})

    async def reply(self, request: Request) -> JSONResponse:
        self.asked += 1
        if self.asked % 5 == 0:
            return JSONResponse({"error": {"message": "busy"}}, 429, {"retry-after": "0"})
        *system, user = (await request.json())["messages"]
        if "numbered steps" in user["content"]:
            return self._said(self._criticism(user["content"]), "")
        effort = next(e for e, told in INSTRUCTIONS.items() if told == system[0]["content"])
        self.efforts.append(effort)
        # a teacher that does not obey: what it calls low is its longest answer
        obeyed = {"low": "high", "high": "low"}.get(effort, effort)
        story = self.stories[user["content"]]
        if story.prompt in self.cut:
            return self._said("", trace(story, obeyed), "length")
        return self._said(answer_text(story, obeyed), trace(story, obeyed))

    def _criticism(self, asked: str) -> str:
        for part, verdict in self.unreadable.items():
            if part in asked:
                return verdict
        steps = _STEP.findall(asked.partition("Steps:\n")[2])
        wrong = [int(number) for number, text in steps if wrong_sentences(text)]
        return f"Step 1 is fine, I think [maybe].\n{wrong}"

    def _said(self, content: str, reasoning: str, finish_reason: str = "stop") -> JSONResponse:
        message = {"content": content, "reasoning_content": reasoning}
        tokens = len(reasoning) // 3 + 8
        return JSONResponse(
            {
                "choices": [{"message": message, "finish_reason": finish_reason}],
                "usage": {"completion_tokens": tokens},
            }
        )


@contextmanager
def teaching(stories: Mapping[str, Story]) -> Generator[Teacher]:
    """A teacher of these stories, by their prompts, until the block is left."""
    teacher = Teacher(stories)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", teacher.reply, methods=["POST"]),
            Route("/v1/models", teacher.models),
        ]
    )
    with served(app) as url:
        teacher.url = f"{url}/v1"
        yield teacher
