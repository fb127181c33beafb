"""CPU, memory and file descriptors of a process, read from Linux's /proc."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessUsage:
    """Resources that a process holds."""

    resident_bytes: int
    descriptors: int


def process_usage(pid: int) -> ProcessUsage:
    return ProcessUsage(resident_bytes(pid), open_descriptors(pid))


def resident_bytes(pid: int) -> int:
    """Bytes of memory that a process has resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_descriptors(pid: int) -> int:
    """The number of files and sockets that a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def cpu_seconds(pid: int, descendants: bool = True) -> float:
    """CPU time of a process since its start, in seconds, with or without its descendants."""
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(stat[1]), []).append(int(folder.name))
            ticks = int(stat[11]) + int(stat[12])
            seconds[int(folder.name)] = ticks / os.sysconf("SC_CLK_TCK")
    if not descendants:
        return seconds[pid]
    total, pending = 0.0, [pid]
    while pending:
        process = pending.pop()
        total += seconds.get(process, 0.0)
        pending += children.get(process, [])
    return total
