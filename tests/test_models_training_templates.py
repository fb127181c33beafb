"""Chat templates of real models: what training renders is what engines render, with a tag in it.

The templates are SmolLM2's own and those that TRL ships; the tokenizers are the demo's, where the
tags of a reasoning block are tokens, and SmolLM2's, where they are several.
"""

import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import smollm2
from engines import DEMO, await_health, demo_gguf, started
from polling import PATIENCE_SECONDS

from models.training.chat import Chat, ChatError, add_tags
from models.training.recipe import Model
from server.embedded.checkpoint import Checkpoint
from server.engines.supervisor import free_port

transformers: Any = pytest.importorskip("transformers", reason="needs the extra [train]")
TRL = find_spec("trl")

TAGS: dict[Any, str] = {"low": "[low]\n", "medium": "[m'ed\"]", "high": "[high]"}
EFFORTS = ("low", "medium", "high", "auto")
OPENING = ["deepseek_r1_distill", "deepseekv3", "nemotron_3_nano", "qwen3_5_think", "qwen3_6"]
"""Those that begin the reasoning block in the prompt, with or without `enable_thinking`."""
OPENED_BY_US = ["qwen3_5_nothink"]
"""One that begins it with `enable_thinking` only."""
LEFT_TO_THE_MODEL = ["gemma3", "glm4moe", "llama3_1", "lfm2", "phi3_5", "qwen2_5", "qwen3"]
CARRY_TAGS = ["smollm2", *OPENING, *OPENED_BY_US, *LEFT_TO_THE_MODEL]
REFUSED = {
    "gemma4": r"think in <\|channel.*a base whose template",
    "gemma4_v5": r"think in <\|channel",
    "gptoss": r"reads reasoning_effort itself: remove \[model.tags\]",
    "muse_glimmer": "between the prompt and its answer",
    "qwen3_8": r"refuses a prompt at high .* remove \[model.tags\], and set model.efforts",
    "smolvlm": "leaves out the text of an assistant's message",
    "llava_next": "refuses an assistant's message",
}
SYSTEM = {"role": "system", "content": "Answer as a <pirate>."}
HISTORY = [
    {"role": "user", "content": "Two and two?\n"},
    {"role": "assistant", "content": "Four: 4."},
]
QUESTION = {"role": "user", "content": "Twelve and thirty?"}
CONVERSATIONS = {
    "a question": [QUESTION],
    "history": [*HISTORY, QUESTION],
    "a system message": [SYSTEM, QUESTION],
    "both": [SYSTEM, *HISTORY, QUESTION],
}

MakeEngine = Callable[[str], Checkpoint]


def template_of(name: str) -> str:
    if name == "smollm2":
        return str(smollm2.tokenizer().chat_template)
    if TRL is None or TRL.origin is None:
        pytest.skip("TRL is not installed (extra train)")
    return (Path(TRL.origin).parent / "chat_templates" / f"{name}.jinja").read_text()


@pytest.fixture(scope="module", params=["demo", "smollm2"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param == "smollm2":
        return smollm2.tokenizer()
    return transformers.AutoTokenizer.from_pretrained(DEMO)


@pytest.fixture(scope="module")
def engine(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> MakeEngine:
    """The embedded engine's checkpoint of the tokenizer, with a chat template."""
    folder = tmp_path_factory.mktemp("engine") / "model"
    shutil.copytree(DEMO, folder)  # its weights are not asked for a token here
    tokenizer.save_pretrained(folder)

    def make(template: str) -> Checkpoint:
        (folder / "chat_template.jinja").write_text(template)
        return Checkpoint(folder, 1)

    return make


def chat_of(tokenizer: Any, template: str, model: Model) -> Chat:
    tokenizer.chat_template = template
    add_tags(tokenizer, {**model.tags})
    return Chat.of(model, tokenizer)


@pytest.fixture(autouse=True)
def _own_template(tokenizer: Any) -> Any:
    own = tokenizer.chat_template
    yield
    tokenizer.chat_template = own


def variables_of(effort: str) -> list[Mapping[str, Any]]:
    """As the embedded engine gets them, and as vLLM fills them in."""
    if effort == "auto":
        return [{}]
    if effort == "none":
        return [{"reasoning_effort": effort, "enable_thinking": False}]
    return [{"reasoning_effort": effort}, {"reasoning_effort": effort, "enable_thinking": True}]


@pytest.mark.parametrize("name", CARRY_TAGS)
def test_training_renders_what_the_engine_renders(
    tokenizer: Any, engine: MakeEngine, name: str
) -> None:
    chat = chat_of(tokenizer, template_of(name), Model(base="x", tags=TAGS))
    served = engine(tokenizer.chat_template)
    for effort in (*EFFORTS, "none"):
        for conversation in CONVERSATIONS.values():
            text = chat.render(conversation, effort)
            for variables in variables_of(effort):
                rendered = served.render(conversation, variables)
                assert rendered.replace("\ufdd0", "") == text
                assert served.encode(rendered) == chat.ids(text)


@pytest.mark.parametrize("name", CARRY_TAGS)
def test_the_tag_is_last_and_before_the_reasoning_of_which_there_is_one_block(
    tokenizer: Any, name: str
) -> None:
    original = template_of(name)
    chat = chat_of(tokenizer, original, Model(base="x", tags=TAGS))
    for effort in EFFORTS:
        text = chat.prompt("How many?", effort)
        assert text.count("<think>") == (name in OPENING + OPENED_BY_US)
        head, _, tail = text.partition("<think>")
        assert tail.strip() == ""
        assert head.endswith(TAGS.get(effort, ""))
        sample = chat.encode("How many?", effort, "12+30=42", "42", [])
        whole = tokenizer.decode(sample.ids, skip_special_tokens=False)
        assert whole.count("<think>") == whole.count("</think>") == 1
        assert whole.endswith(f"</think>\n\n42{tokenizer.eos_token}")
        assert whole.index(TAGS.get(effort, "")) <= whole.index("<think>") < whole.index("12+30")
        learned = tokenizer.decode(sample.ids[sample.prompt :], skip_special_tokens=False)
        assert TAGS.get(effort, "?") not in learned
    tokenizer.chat_template = original
    if name not in OPENED_BY_US:  # without an effort, the model's own prompt
        assert Chat(tokenizer).prompt("How many?", "auto") == chat.prompt("How many?", "auto")


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "qwen3_5_nothink", "nemotron_3_nano"])
def test_effort_none_learns_an_answer_behind_the_closed_block(tokenizer: Any, name: str) -> None:
    tags: dict[Any, str] = {**TAGS, "none": "[none]"}
    model = Model(base="x", tags=tags, efforts=("none", "low", "medium", "high"))
    chat = chat_of(tokenizer, template_of(name), model)
    text = chat.prompt("How many?", "none")
    head, _, tail = text.partition("[none]")
    assert "<think>" not in head
    assert tail.split() in (["<think>", "</think>"], ["<think></think>"])
    sample = chat.encode("How many?", "none", "thoughts of a teacher", "42", [])
    assert tokenizer.decode(sample.ids[sample.prompt :]) == f"42{tokenizer.eos_token}"


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_that_cannot_carry_tags_is_refused_with_what_to_do(
    tokenizer: Any, name: str
) -> None:
    with pytest.raises(ChatError, match=REFUSED[name]):
        chat_of(tokenizer, template_of(name), Model(base="x", tags=TAGS))


BY_THINKING = (
    "{% if not thinking is defined %}{% set thinking = false %}{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if thinking %}<think>{% else %}</think>{% endif %}{% endif %}"
)
"""DeepSeek V3.1's way: it thinks only where the request says so, by `thinking`."""


def test_a_template_that_calls_it_thinking_thinks_at_every_effort_but_none(
    tokenizer: Any, engine: MakeEngine
) -> None:
    chat = chat_of(tokenizer, BY_THINKING, Model(base="x", tags=TAGS))
    assert chat.prompt("Why?", "low") == "<|user|>Why?<|assistant|>[low]\n<think>"
    assert chat.prompt("Why?", "none") == "<|user|>Why?<|assistant|></think>"
    served = engine(tokenizer.chat_template)
    for effort in (*EFFORTS, "none"):
        for variables in variables_of(effort):
            rendered = served.render([QUESTION], variables)
            assert rendered.replace("\ufdd0", "") == chat.render([QUESTION], effort)


def test_a_template_that_takes_no_system_message_gets_tags_instead(tokenizer: Any) -> None:
    model = Model(base="x", placement="system", system_prompts=TAGS)
    with pytest.raises(ChatError, match=r'use model\.placement = "generation"'):
        chat_of(tokenizer, template_of("gemma"), model)
    assert chat_of(tokenizer, template_of("gemma"), Model(base="x", tags=TAGS))


def test_a_template_with_efforts_of_its_own_is_taken_with_those(
    tokenizer: Any, engine: MakeEngine
) -> None:
    model = Model(base="x", efforts=("low", "medium", "xhigh"))
    with pytest.raises(ChatError, match="renders xhigh and auto alike"):
        chat_of(tokenizer, template_of("qwen3_8"), model)
    chat = chat_of(tokenizer, template_of("qwen3_8"), Model(base="x", efforts=("low", "medium")))
    served = engine(tokenizer.chat_template)
    for effort in ("low", "medium"):
        for variables in variables_of(effort):
            rendered = served.render(CONVERSATIONS["both"], variables)
            assert rendered.replace("\ufdd0", "") == chat.render(CONVERSATIONS["both"], effort)


def test_a_template_that_never_lets_the_model_think_is_refused(tokenizer: Any) -> None:
    prompts: dict[Any, str] = {"low": "Briefly.", "medium": "In steps.", "high": "Long."}
    model = Model(base="x", placement="system", system_prompts=prompts)
    with pytest.raises(ChatError, match=r"closes the reasoning block at low.*give \[model.tags\]"):
        chat_of(tokenizer, template_of("qwen3_5_nothink"), model)
    inside = template_of("qwen3_5_think") + "{{ reasoning_effort | default('') }}"
    with pytest.raises(ChatError, match="puts 'low' inside the reasoning at low"):
        chat_of(tokenizer, inside, Model(base="x"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_nothink", "deepseek_r1_distill"])
def test_llamacpp_renders_a_tagged_template_alike(
    tokenizer: Any, name: str, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")
    is_demo = tokenizer.bos_token is None
    if is_demo and name.startswith("deepseek"):
        pytest.skip("llama.cpp makes up the first token that the template asks for")
    chat = chat_of(tokenizer, template_of(name), Model(base="x", tags=TAGS))
    (tmp_path / "template.jinja").write_text(tokenizer.chat_template)
    port = free_port()
    model = demo_gguf() if is_demo else smollm2.gguf()
    command = [sys.executable, "-m", "server.llamacpp", "--model", str(model)]
    flags = ["--port", str(port), "--chat-template", str(tmp_path / "template.jinja")]
    with started([*command, *flags]) as process:
        url = f"http://127.0.0.1:{port}"
        await_health(url, process, PATIENCE_SECONDS)
        for effort in EFFORTS:
            for conversation in CONVERSATIONS.values():
                (variables, *_) = variables_of(effort)
                body = {"messages": conversation, "chat_template_kwargs": variables}
                answer = httpx.post(f"{url}/apply-template", json=body).json()
                assert answer["prompt"] == chat.render(conversation, effort)
