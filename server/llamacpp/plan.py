"""How a model is run on this machine: threads, concurrent generations, context, memory."""

import os
from dataclasses import dataclass
from pathlib import Path

from server.llamacpp.failures import too_little_memory
from server.llamacpp.gguf import GgufError, GgufFile

DEFAULT_SLOTS, _SMALL_MODEL_SLOTS = 4, 8
_SMALL_BYTES = 2**26
"""A model's weights, and its caches of all slots, at most: a batch of eight costs it nothing."""

_MAX_CONTEXT, _MIN_CONTEXT = 32_768, 2_048
"""Tokens of a slot by default: at most, and at least where memory is short."""

_WORK_BYTES = 2**28
"""Memory besides weights and caches: code, buffers of the computation."""

_MIB, _GIB = 2**20, 2**30
_MAX_PROMPT_CACHE_MIB = 2048
_CGROUP = Path("/sys/fs/cgroup")
_MEMORY_INFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Plan:
    """Args of the engine: `context` is the tokens of each slot, `prompt_cache` in MiB."""

    threads: int
    slots: int
    context: int
    prompt_cache: int


def plan(
    model: GgufFile,
    threads: int | None,
    slots: int | None,
    context: int | None,
    memory: int | None = None,
) -> Plan:
    """What the settings say, and defaults that fit into the memory where they say nothing.

    Args:
        model: the GGUF file.
        threads: those that compute; None for a thread per core but one.
        slots: concurrent generations; None for 4, or 8 of a small model.
        context: tokens of each of them; None for the model's own, as far as memory allows.
        memory: bytes that are available; None if that is not known.

    Raises:
        GgufError: the model does not fit into the memory.
    """
    own = model.context or _MAX_CONTEXT
    chosen = context or min(own, _MAX_CONTEXT)
    slots = slots or _default_slots(model, chosen, memory)
    if memory is not None:
        room = memory - model.size - _WORK_BYTES
        while (
            context is None and chosen > _MIN_CONTEXT and model.cache_bytes(chosen * slots) > room
        ):
            chosen = max(_MIN_CONTEXT, chosen // 2)
        if model.cache_bytes(chosen * slots) > room:
            needed = model.size + _WORK_BYTES + model.cache_bytes(chosen * slots)
            has = f"{memory / _GIB:.1f} GiB of free memory (it needs about {needed / _GIB:.1f} GiB)"
            raise GgufError(too_little_memory(model.path, has))
        spare = (room - model.cache_bytes(chosen * slots)) // (4 * _MIB)
    else:
        spare = _MAX_PROMPT_CACHE_MIB // 4
    prompt_cache = min(_MAX_PROMPT_CACHE_MIB, max(0, spare))
    return Plan(threads or max(1, usable_cores() - 1), slots, chosen, prompt_cache)


def _default_slots(model: GgufFile, context: int, memory: int | None) -> int:
    needed = max(model.size, model.cache_bytes(context * _SMALL_MODEL_SLOTS))
    is_scarce = memory is not None and memory < model.size + _WORK_BYTES + _SMALL_BYTES
    return DEFAULT_SLOTS if needed > _SMALL_BYTES or is_scarce else _SMALL_MODEL_SLOTS


def usable_cores() -> int:
    """Cores that this process may use; two threads of one core count once.

    A thread of the engine waits for the others without sleeping, so that more of them than cores
    are many times slower.
    """
    numbers = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    cores = len({_siblings(number) for number in numbers}) or os.cpu_count() or 1
    quota = _words(_CGROUP / "cpu.max")
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    return cores


def available_memory() -> int | None:
    """Bytes that can be used without swapping; None where the system does not say."""
    info = _words(_MEMORY_INFO)
    if "MemAvailable:" not in info:
        return None
    free = int(info[info.index("MemAvailable:") + 1]) * 1024
    limit, used = _words(_CGROUP / "memory.max"), _words(_CGROUP / "memory.current")
    if limit and used and limit[0].isdigit() and used[0].isdigit():
        free = min(free, max(0, int(limit[0]) - int(used[0])))
    return free


def _siblings(number: int) -> str:
    """A name of the core that a logical processor belongs to."""
    file = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
    return " ".join(_words(file)) or str(number)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
