"""One training by TRL, in a process of its own: `python -m models.training.trl_worker FOLDER`.

FOLDER has `tuning.json` and `tokens.jsonl`, as `models.training.tuning` writes them. Run by
torchrun or `accelerate launch` it trains in several processes. Checkpoints lie in `trainer/` until
it is done, TensorBoard's logs in `logs/`; the result is `model/`, which appears when it is whole.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

_LOGGED_STEPS = 10


class _Pretokenised(DPOTrainer):
    """DPO on token ids as they are, so that training sees what serving renders."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class _Epochs(TrainerCallback):
    """Tells the sampler its epoch, which the trainer fails to do where it resumes in one.

    Of several processes; it reaches one wrapper deep, and there are two.
    """

    def on_epoch_begin(self, _args: Any, state: Any, _control: Any, **given: Any) -> None:
        """See TrainerCallback."""
        sampler = given["train_dataloader"].batch_sampler
        sampler = getattr(sampler, "batch_sampler", sampler)
        sampler.set_epoch(int(state.epoch or 0))


def train(folder: Path) -> None:
    """Train, or go on from the last whole checkpoint."""
    told = json.loads((folder / "tuning.json").read_text())
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "logs")
    trainer = _sft(folder, told) if told["method"] == "sft" else _dpo(folder, told)
    done = trainer.train(resume_from_checkpoint=_last_checkpoint(folder / "trainer"))
    part = folder / "model.part"
    if told["settings"]["lora"] is not None:
        trainer.save_model(str(folder / "adapter"))
        merged = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
        if trainer.is_world_process_zero():
            merged.save_pretrained(part)
    else:
        trainer.save_model(str(part))
    losses = trainer.accelerator.gather(  # each process only knows its own
        torch.tensor([done.training_loss], device=trainer.accelerator.device)
    )
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        trainer.processing_class.save_pretrained(part)
        (part / "training_args.bin").unlink(missing_ok=True)
        told = {"loss": losses.mean().item(), "steps": done.global_step}
        (folder / "training.json").write_text(json.dumps(told) + "\n")
        shutil.rmtree(folder / "model", ignore_errors=True)
        part.rename(folder / "model")
        trainer.state.save_to_json(str(folder / "logs" / "trainer_state.json"))
        shutil.rmtree(folder / "trainer")  # checkpoints, each three times the model


def _sft(folder: Path, told: dict[str, Any]) -> SFTTrainer:
    model, tokenizer = _loaded(told)
    config = SFTConfig(
        **_arguments(folder, told),
        max_length=None,  # what does not fit was left out, and counted
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="batch_rebalance",  # not by length: efforts differ in it
    )
    return SFTTrainer(
        model,
        args=config,
        train_dataset=_dataset(folder),
        processing_class=tokenizer,
        peft_config=_lora(told),
        callbacks=[_Epochs()],
    )


def _dpo(folder: Path, told: dict[str, Any]) -> DPOTrainer:
    model, tokenizer = _loaded(told)
    config = DPOConfig(
        **_arguments(folder, told),
        max_length=None,
        beta=told["settings"]["beta"],
    )
    return _Pretokenised(
        model,
        args=config,
        train_dataset=_dataset(folder),
        processing_class=tokenizer,
        peft_config=_lora(told),
    )


def _loaded(told: dict[str, Any]) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(told["tokenizer"])
    dtype = torch.bfloat16 if torch.cuda.is_available() and _lora(told) else torch.float32
    model = AutoModelForCausalLM.from_pretrained(told["model"], dtype=dtype)
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer))
    model.config.use_cache = False
    return model, tokenizer


def _lora(told: dict[str, Any]) -> LoraConfig | None:
    lora = told["settings"]["lora"]
    if lora is None:
        return None
    return LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=lora["targets"],
        task_type="CAUSAL_LM",
    )


def _dataset(folder: Path) -> Dataset:
    return Dataset.from_json(
        str(folder / "tokens.jsonl"), cache_dir=str(folder / "trainer" / "cache")
    )


def _arguments(folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    settings = told["settings"]
    world = int(os.environ.get("WORLD_SIZE", "1"))
    each, rest = divmod(settings["batch"], settings["micro_batch"] * world)
    if rest or not each:
        sys.exit(
            f"a batch of {settings['batch']} does not divide into {world} processes with a "
            f"micro_batch of {settings['micro_batch']}"
        )
    if settings["lora"] is not None and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        sys.exit("an adapter cannot be merged where FSDP shards the model: take out lora or FSDP")
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder / "trainer"),
        "per_device_train_batch_size": settings["micro_batch"],
        "gradient_accumulation_steps": each,
        "learning_rate": settings["learning_rate"],
        "num_train_epochs": settings["epochs"],
        "warmup_steps": float(settings["warmup_share"]),
        "lr_scheduler_type": settings["schedule"],
        "weight_decay": settings["weight_decay"],
        "gradient_checkpointing": settings["gradient_checkpointing"],
        "save_steps": settings["save_steps"],
        "save_total_limit": 2,
        "logging_steps": _LOGGED_STEPS,
        "report_to": ["tensorboard"],
        "seed": told["seed"],
        "bf16": gpu,
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
    }


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written whole: the trainer's state is written last."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.rpartition("-")[2]))
    whole = [one for one in found if (one / "trainer_state.json").is_file()]
    return str(whole[-1]) if whole else None


if __name__ == "__main__":
    train(Path(sys.argv[1]))
