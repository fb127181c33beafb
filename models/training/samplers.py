"""Who continues the prompts of `grpo`: the trained model itself, CTranslate2, or vLLM through TRL.

Every sampling field is set here. Those that a trainer leaves unset would come from the model's
generation_config.json: rollouts of a policy other than the one that is trained.
"""

import gc
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import torch
from ctranslate2.converters import TransformersConverter
from transformers import GenerationConfig
from trl.models import unwrap_model_for_generation

from models.training.completions import Completion


class TransformersSampler:
    """Continues prompts by the trained model, padded to the left."""

    def __init__(self, trainer: Any, temperature: float) -> None:
        self._trainer = trainer
        self._temperature = temperature

    def sample(
        self, prompts: Sequence[list[int]], limits: Sequence[int], forbidden: int | None = None
    ) -> list[Completion]:
        tokenizer, accelerator = self._trainer.processing_class, self._trainer.accelerator
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        ends = self._trainer.eos_token_ids
        settings = GenerationConfig(
            max_new_tokens=max(limits),
            do_sample=True,
            temperature=self._temperature,
            top_p=1.0,
            top_k=0,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
            begin_suppress_tokens=None if forbidden is None else [forbidden],
            use_cache=True,
        )
        with (
            unwrap_model_for_generation(self._trainer.model_wrapped, accelerator) as model,
            torch.no_grad(),
        ):
            own = model.generation_config
            model.generation_config = settings  # else its unset fields come from the checkpoint's
            try:
                output = model.generate(
                    ids.to(accelerator.device), attention_mask=mask.to(accelerator.device)
                )
            finally:
                model.generation_config = own
        rows = output[:, width:].tolist()
        return [
            Completion(until_end(row, ends)[:limit])
            for row, limit in zip(rows, limits, strict=True)
        ]


class EmbeddedSampler:
    """Continues prompts by CTranslate2, the library of the embedded engine, on the CPU.

    The weights are converted once per step, in under a second for a few million parameters.
    """

    def __init__(
        self, trainer: Any, folder: Path, temperature: float, seed: Callable[[], int]
    ) -> None:
        self._trainer = trainer
        self._folder = folder
        self._temperature = temperature
        self._seed = seed
        self._step = -1
        self._generator: Any = None
        self._vocabulary: list[str] = []

    def sample(
        self, prompts: Sequence[list[int]], limits: Sequence[int], forbidden: int | None = None
    ) -> list[Completion]:
        self._load()
        results: list[Completion] = [Completion([]) for _ in prompts]
        starts = list(prompts)
        if forbidden is not None:
            firsts = self._generate(prompts, 1, [[self._vocabulary[forbidden]]])
            results = [Completion(first) for first in firsts]
            starts = [[*prompt, *first] for prompt, first in zip(prompts, firsts, strict=True)]
        ends = set(self._trainer.eos_token_ids)
        by_limit: dict[int, list[int]] = defaultdict(list)
        for index, limit in enumerate(limits):
            rest = limit - len(results[index].ids)
            if rest > 0 and not ends & set(results[index].ids):
                by_limit[rest].append(index)
        for rest, indices in by_limit.items():
            for index, ids in zip(
                indices, self._generate([starts[i] for i in indices], rest, []), strict=True
            ):
                results[index].ids += ids
        return results

    def _generate(
        self, prompts: Sequence[list[int]], limit: int, forbidden: list[list[str]]
    ) -> list[list[int]]:
        words = self._vocabulary
        padding = [[word] for word in words[len(self._trainer.processing_class) :]]
        results = self._generator.generate_batch(
            [[words[token] for token in prompt] for prompt in prompts],
            max_batch_size=64,
            max_length=limit,
            end_token=list(self._trainer.eos_token_ids),
            return_end_token=True,
            include_prompt_in_result=False,
            sampling_topk=0,
            sampling_temperature=self._temperature,
            suppress_sequences=[*padding, *forbidden] or None,
        )
        return [list(result.sequences_ids[0]) for result in results]

    def _load(self) -> None:
        """Convert the present weights, once per step of the trainer."""
        if self._step == self._trainer.state.global_step:
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        model = self._trainer.accelerator.unwrap_model(self._trainer.model)
        model.save_pretrained(self._folder / "checkpoint")
        self._trainer.processing_class.save_pretrained(self._folder / "checkpoint")
        converted = self._folder / "ctranslate2"
        TransformersConverter(str(self._folder / "checkpoint")).convert(str(converted))
        self._generator = None
        gc.collect()
        ctranslate2.set_random_seed(self._seed())
        self._generator = ctranslate2.Generator(
            str(converted), inter_threads=1, intra_threads=torch.get_num_threads()
        )
        if not self._vocabulary:
            tokenizer = self._trainer.processing_class
            size = model.get_input_embeddings().weight.shape[0]
            named = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
            self._vocabulary = named + _vocabulary(converted)[len(named) : size]
        self._step = self._trainer.state.global_step


class VllmSampler:
    """Continues prompts by vLLM through TRL, which hands it the present weights."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def sample(
        self, prompts: Sequence[list[int]], limits: Sequence[int], forbidden: int | None = None
    ) -> list[Completion]:
        assert forbidden is None, "the recipe refuses `explore` with vLLM"
        generations = self._trainer.num_generations
        ids, logprobs = self._trainer._generate_single_turn(list(prompts), None, {}, generations)
        return [
            Completion(list(row)[:limit], list(probabilities)[:limit])
            for row, probabilities, limit in zip(ids, logprobs, limits, strict=True)
        ]


def until_end(ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """The ids up to and with the first end token."""
    first = next((index for index, token in enumerate(ids) if token in ends), len(ids) - 1)
    return list(ids[: first + 1])


def _vocabulary(converted: Path) -> list[str]:
    return json.loads((converted / "vocabulary.json").read_text())
