"""The worker process of SFT, DPO and GRPO, by TRL: `python -m models.training.trl_worker FOLDER`.

FOLDER has `tuning.json` and `tokens.jsonl`, which `models.training.tuning` writes. Run by torchrun
or `accelerate launch`, it trains in several processes. Checkpoints are in `trainer/` until it ends,
TensorBoard's logs in `logs/`. The result is `model/`, renamed into place once it is complete.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
)
from trl import DPOConfig, DPOTrainer, SFTConfig

from models.outcomes.verify import JudgeError
from models.training.examples import read_rows
from models.training.new_tokens import add_rows, trainable_rows
from models.training.pretrained import origin, weights_origin
from models.training.rewards import RewardError
from models.training.sft_trainer import RowCollator, RowTrainer
from models.training.training_progress import ProgressLines, mean_loss

_LOGGED_STEPS = 10
_TRAINED, _HELD_OUT = "tokens.jsonl", "held_out.jsonl"


class _PretokenisedDPOTrainer(DPOTrainer):
    """DPO on token ids as they are, so that training sees exactly what serving renders."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class _EpochCallback(TrainerCallback):
    """Sets the sampler's epoch, so that a resumed epoch continues in its data order.

    With several processes, the trainer's own `set_epoch` reaches one wrapper deep; there are two.
    """

    def on_epoch_begin(self, _args: Any, state: Any, _control: Any, **objects: Any) -> None:
        """See `transformers.TrainerCallback`; `objects` has the data loader."""
        sampler = objects["train_dataloader"].batch_sampler
        sampler = getattr(sampler, "batch_sampler", sampler)
        sampler.set_epoch(int(state.epoch or 0))


def train(folder: Path) -> None:
    """Train from the latest complete checkpoint, or from the start; write `model/`."""
    job = json.loads((folder / "tuning.json").read_text())
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "logs")
    try:
        trainer = {"sft": _sft, "dpo": _dpo, "grpo": _grpo}[job["method"]](folder, job)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{folder.name} cannot start with the recipe's settings: {error}")
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressLines())
    try:
        result = trainer.train(resume_from_checkpoint=_latest_checkpoint(folder / "trainer"))
    except (RewardError, JudgeError) as error:  # of a function of the user's
        sys.exit(str(error))
    held_out = trainer.evaluate() if trainer.eval_dataset is not None else None
    partial = folder / "model.part"
    if job["settings"]["lora"] is not None:
        trainer.save_model(str(folder / "adapter"))
        merged = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
        merged.tie_weights()
        if trainer.is_world_process_zero():
            merged.save_pretrained(partial)
    else:
        trainer.save_model(str(partial))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        trainer.processing_class.save_pretrained(partial)
        (partial / "training_args.bin").unlink(missing_ok=True)
        summary = {"loss": mean_loss(trainer.state.log_history), "steps": result.global_step}
        if held_out is not None:
            summary["held_out_loss"] = held_out["eval_loss"]
        (folder / "training.json").write_text(json.dumps(summary) + "\n")
        shutil.rmtree(folder / "model", ignore_errors=True)
        partial.rename(folder / "model")
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)  # TensorBoard made it, unless `report_to` leaves that out
        trainer.state.save_to_json(str(logs / "trainer_state.json"))
        shutil.rmtree(folder / "trainer")  # each checkpoint takes three times the model's size


def _sft(folder: Path, job: dict[str, Any]) -> RowTrainer:
    model, tokenizer = _load(job)
    model = _with_new_tokens(model, tokenizer, job)
    config = SFTConfig(
        **_arguments(folder, job),
        max_length=None,  # longer samples were left out and counted before
        remove_unused_columns=False,  # rows have branches
        padding_free=job["settings"]["padding_free"],
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="batch_rebalance",  # by length would separate the efforts
    )
    return RowTrainer(
        model,
        args=config,
        data_collator=None if config.padding_free else RowCollator(tokenizer.pad_token_id),
        **_datasets(folder),
        processing_class=tokenizer,
        peft_config=None if is_peft_model(model) else _lora(job),
        callbacks=[_EpochCallback()],
    )


def _dpo(folder: Path, job: dict[str, Any]) -> DPOTrainer:
    model, tokenizer = _load(job)
    config = DPOConfig(
        **_arguments(folder, job),
        max_length=None,
        beta=job["settings"]["beta"],
    )
    return _PretokenisedDPOTrainer(
        model,
        args=config,
        **_datasets(folder),
        processing_class=tokenizer,
        peft_config=_lora(job),
    )


def _grpo(folder: Path, job: dict[str, Any]) -> Any:
    from models.training.grpo_trainer import grpo_trainer  # noqa: PLC0415 - loads CTranslate2

    model, tokenizer = _load(job)
    model = _with_new_tokens(model, tokenizer, job)
    adapter = None if is_peft_model(model) else _lora(job)
    return grpo_trainer(folder, job, _arguments(folder, job), model, tokenizer, adapter)


def _load(job: dict[str, Any]) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(job["tokenizer"])
    lora, attention = job["settings"]["lora"], job["settings"]["attention"]
    by_default = "bfloat16" if torch.cuda.is_available() else "float32"
    dtype = getattr(torch, lora["weights"] or by_default) if lora else torch.float32
    if dtype is torch.bfloat16 and not torch.cuda.is_available() and not _has_fast_bfloat16():
        print(
            "warning: this CPU has no instructions for bfloat16, which is many times slower on it: "
            'set lora.weights = "float32"',
            file=sys.stderr,
        )
    model = AutoModelForCausalLM.from_pretrained(
        **weights_origin(job["model"]),
        dtype=dtype,
        **({"attn_implementation": attention} if attention else {}),
    )
    if job["new_tokens"]:
        own = AutoTokenizer.from_pretrained(**origin(job["model"]))
        add_rows(model, tokenizer, own, job["seed"])
    model.config.use_cache = False
    return model, tokenizer


def _has_fast_bfloat16() -> bool:
    """Whether matrices in bfloat16 are multiplied by instructions of the CPU (AVX-512, AMX)."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # has no public name


def _lora(job: dict[str, Any], rows: dict[str, list[int]] | None = None) -> LoraConfig | None:
    lora = job["settings"]["lora"]
    if lora is None:
        return None
    return LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=lora["targets"],
        trainable_token_indices=rows,
        task_type="CAUSAL_LM",
    )


def _with_new_tokens(model: Any, tokenizer: Any, job: dict[str, Any]) -> Any:
    """The model; within its adapter where that trains the rows of new tokens as well.

    An output matrix that is tied to the embedding would be wrapped too, and TRL 1.16 reads it past
    its wrapper: it stays as it is until the adapter is merged. Such a row is of a prompt's token.
    """
    if not job["new_tokens"] or job["settings"]["lora"] is None:
        return model
    tied, model.config.tie_word_embeddings = model.config.tie_word_embeddings, False
    adapted = get_peft_model(model, _lora(job, trainable_rows(model, tokenizer, job["new_tokens"])))
    model.config.tie_word_embeddings = tied
    return adapted


def _datasets(folder: Path) -> dict[str, Dataset | None]:
    """The samples, on disk in Arrow's format.

    Not by `Dataset.from_json`: it leaves threads behind, and datasets and Accelerate take all
    environment variables away for a moment, which crashes a thread that reads one by then.
    """

    def read(name: str) -> Dataset | None:
        file, cache = folder / name, folder / "trainer" / "cache" / name
        if not file.is_file():
            return None
        version = {"path": str(file), "modified": file.stat().st_mtime_ns}
        return Dataset.from_generator(_samples, gen_kwargs=version, cache_dir=str(cache))

    return {"train_dataset": read(_TRAINED), "eval_dataset": read(_HELD_OUT)}


def _samples(path: str, modified: int) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - of the cache
    return read_rows(Path(path))


def _arguments(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    settings = job["settings"]
    world = int(os.environ.get("WORLD_SIZE", "1"))
    accumulation_steps, remainder = divmod(settings["batch"], settings["micro_batch"] * world)
    if remainder or not accumulation_steps:
        sys.exit(
            f"a batch of {settings['batch']} does not divide into {world} processes with a "
            f"micro_batch of {settings['micro_batch']}"
        )
    if settings["lora"] is not None and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        sys.exit("an adapter cannot be merged into a model that FSDP shards: remove lora or FSDP")
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder / "trainer"),
        "per_device_train_batch_size": settings["micro_batch"],
        "gradient_accumulation_steps": accumulation_steps,
        "learning_rate": settings["learning_rate"],
        "num_train_epochs": settings.get("epochs", 1),
        "max_steps": settings.get("max_steps") or -1,
        "warmup_steps": float(settings["warmup_share"]),
        "lr_scheduler_type": settings["schedule"],
        "weight_decay": settings["weight_decay"],
        "gradient_checkpointing": settings["gradient_checkpointing"],
        "save_steps": settings["save_steps"],
        "save_total_limit": 2,
        "logging_steps": _LOGGED_STEPS,
        "logging_nan_inf_filter": False,  # it logs other numbers in their place
        "report_to": job["report_to"],
        "run_name": job["name"],
        "disable_tqdm": True,
        "seed": job["seed"],
        "bf16": gpu,
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
        **_evaluation(folder, settings),
    }


def _evaluation(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments for the loss on held-out rows, at every so many steps."""
    if not (folder / _HELD_OUT).is_file():
        return {}
    return {
        "eval_strategy": "steps",
        "eval_steps": settings["evaluate_steps"],
        "per_device_eval_batch_size": settings["micro_batch"],
        "prediction_loss_only": True,
    }


def _latest_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint: the trainer writes its state last."""
    checkpoints = sorted(
        folder.glob("checkpoint-*"), key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2])
    )
    complete = [
        checkpoint for checkpoint in checkpoints if (checkpoint / "trainer_state.json").is_file()
    ]
    return str(complete[-1]) if complete else None


if __name__ == "__main__":
    train(Path(sys.argv[1]))
