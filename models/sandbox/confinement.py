"""Confines the process of a job: time, memory, files, network, processes, privileges.

What it is not: a virtual machine. A job shares the kernel, the cores and the readable parts of the
Python installation with everything else.
"""

import os
import resource
import site
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from models.sandbox.kernel import allow_files, drop_capabilities, refuse_calls

_MIB = 1 << 20
_FILE_BYTES = 8 * _MIB
_OPEN_FILES = 64
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
)


@dataclass(frozen=True)
class Limits:
    """Of a job: seconds of a core and of the clock each, and MiB beyond what it starts with."""

    seconds: float
    memory_mib: int = 512


def confine(folder: Path, limits: Limits) -> None:
    """Confine this process, for good, to `folder` and `limits`.

    Raises:
        OSError: the kernel refuses a part of it; the process must then run nothing.
    """
    memory = _address_space() + limits.memory_mib * _MIB
    cpu_seconds = int(limits.seconds) + 1
    for name, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (value, value))
    os.chdir(folder)
    allow_files(_readable(), folder, [Path(device) for device in _DEVICES])
    drop_capabilities()
    refuse_calls()


def _address_space() -> int:
    """Bytes of address space that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def _readable() -> list[Path]:
    """Python's own libraries, its packages, and the system's; not this project, nor a home."""
    paths = sysconfig.get_paths()
    names = {*_SYSTEM, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))}
    names |= {entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}
    names |= {*site.getsitepackages(), str(Path(sys.base_prefix) / "lib")}
    return [Path(name) for name in sorted(names)]
