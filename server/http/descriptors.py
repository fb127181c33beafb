"""The file descriptors of this process: a connection takes one, or fails where there is none."""

import errno
import sys

if sys.platform != "win32":
    import resource

_IN_USE, _IN_USE_BY_WORKER = 32, 48
"""Descriptors of the log, the ledger, health checks, and connections that are being closed; those
of a worker also of the metrics that it shares."""

_FEWEST = 2
_MAX_DESCRIPTORS = 2**16
"""The limit on descriptors is not raised above it: some programs close all that they may have."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE)


def affordable_connections(is_worker: bool = False) -> int:
    """The connections for which this process has file descriptors now, two for each.

    Others may change the limit while the process runs.
    """
    if sys.platform == "win32":
        return _MAX_DESCRIPTORS // 2
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        limit = 2**20
    return max(_FEWEST, (limit - (_IN_USE_BY_WORKER if is_worker else _IN_USE)) // 2)


def raise_descriptor_limit() -> None:
    """Allow this process, and those that it starts, as many file descriptors as they may have."""
    if sys.platform == "win32":
        return
    limit, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _MAX_DESCRIPTORS
    if ceiling != resource.RLIM_INFINITY:
        target = min(target, ceiling)
    if limit != resource.RLIM_INFINITY and limit < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, ceiling))


def is_exhaustion(error: BaseException) -> bool:
    """Whether an error says that there is no file descriptor left."""
    return isinstance(error, OSError) and error.errno in _EXHAUSTED
