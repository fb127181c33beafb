"""What is trained on is, token for token, what serving renders; masks; tags for other templates."""

from collections import Counter
from typing import Any

import httpx
import pytest
from engines import running
from paths import ROOT

from models.training.chat import IGNORED, Chat, ChatError, add_tags, complete_ends
from models.training.examples import Example, encode_all
from models.training.recipe import Model
from server.embedded.checkpoint import Checkpoint

transformers: Any = pytest.importorskip("transformers", reason="needs the extra [train]")

DEMO = ROOT / "models" / "demo"
PROMPT = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens are there now?"
FOREIGN = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(DEMO)


@pytest.fixture(scope="module")
def chat(tokenizer: Any) -> Chat:
    return Chat.of(Model(base=str(DEMO)), tokenizer)


@pytest.mark.parametrize("effort", ["none", "low", "medium", "high", "auto"])
def test_prompts_are_those_of_serving(chat: Chat, effort: str) -> None:
    checkpoint = Checkpoint(DEMO, 1)
    variables = {} if effort == "auto" else {"reasoning_effort": effort}
    served = checkpoint.render([{"role": "user", "content": PROMPT}], variables)
    assert chat.prompt(PROMPT, effort) == served
    encoded = chat.encode(PROMPT, effort, "42 35" if effort != "none" else "", "35", [])
    assert encoded.ids[: encoded.prompt] == checkpoint.encode(served)


def test_completions_encode_to_the_tokens_that_the_model_generated(chat: Chat) -> None:
    with running("embedded") as engine:
        for effort in ("low", "medium", "high"):
            body = {
                "messages": [{"role": "user", "content": PROMPT}],
                "reasoning_effort": effort,
                "temperature": 0,
            }
            answer = httpx.post(f"{engine.url}/v1/chat/completions", json=body, timeout=30).json()
            message = answer["choices"][0]["message"]
            encoded = chat.encode(PROMPT, effort, message["reasoning"], message["content"], [])
            assert encoded.prompt == answer["usage"]["prompt_tokens"]
            assert len(encoded.ids) - encoded.prompt == answer["usage"]["completion_tokens"]


def test_only_the_completion_carries_loss_and_wrong_steps_do_not(chat: Chat) -> None:
    reasoning = "12+30=43\n42-7=35"
    encoded = chat.encode(PROMPT, "medium", reasoning, "The answer is 35.", [[0, 8]])
    assert set(encoded.labels[: encoded.prompt]) == {IGNORED}
    learned = [label for label in encoded.labels if label != IGNORED]
    assert chat.tokenizer.decode(learned) == "\n42-7=35\n</think>\n\nThe answer is 35.<|im_end|>"
    assert chat.tokenizer.decode(encoded.ids[encoded.prompt :]).startswith(reasoning)


def test_samples_that_are_too_long_are_left_out_and_counted(chat: Chat) -> None:
    short = Example("a", PROMPT, "low", "42 35", "35", 9)
    long = Example("b", PROMPT, "high", "1 " * 400, "35", 9)
    counts = Counter[str]()
    assert len(encode_all([short, long], chat, 200, counts)) == 1
    assert (counts["too_long"], counts["examples"]) == (1, 1)


def test_a_foreign_template_gets_tags_after_its_generation_prompt(tokenizer: Any) -> None:
    foreign = transformers.AutoTokenizer.from_pretrained(DEMO)
    model = Model(base="x", tags={"low": "[low]\n", "medium": "[m'ed\"]\n", "high": "[high]\n"})
    foreign.chat_template = FOREIGN
    with pytest.raises(ChatError, match="renders low and medium alike"):
        Chat.of(model, foreign)
    add_tags(foreign, {**model.tags})
    chat = Chat.of(model, foreign)
    untagged = f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n"
    assert chat.prompt(PROMPT, "auto") == untagged
    assert chat.prompt(PROMPT, "medium") == f"{untagged}[m'ed\"]\n"
    encoded = chat.encode(PROMPT, "low", "42 35", "35", [[0, 2]])
    assert foreign.decode(encoded.ids[encoded.prompt :]) == (
        "<think>\n42 35\n</think>\n\n35<|im_end|>"
    )
    assert foreign.decode([label for label in encoded.labels if label >= 0]).startswith(
        "<think>\n 35"
    )


def test_a_recipe_can_set_the_effort_by_the_system_prompt(tokenizer: Any) -> None:
    prompts: dict[Any, str] = {effort: f"Think {effort}." for effort in ("low", "medium", "high")}
    chat = Chat.of(Model(base="x", placement="system", system_prompts=prompts), tokenizer)
    text = chat.prompt(PROMPT, "high")
    assert text.startswith("<|im_start|>system\nThink high.<|im_end|>\n")
    assert "<|high|>" not in text
    assert "system" not in chat.prompt(PROMPT, "auto")


def test_a_tokenizer_without_padding_pads_with_its_end_token() -> None:
    bare = transformers.AutoTokenizer.from_pretrained(DEMO, pad_token=None)
    assert bare.pad_token is None
    complete_ends(bare)
    assert bare.pad_token_id == bare.eos_token_id
    bare.eos_token = None
    with pytest.raises(ChatError, match="has no eos_token"):
        complete_ends(bare)
