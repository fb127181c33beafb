"""Whether a process of this gateway is still there."""

import os


def is_alive(pid: int) -> bool:
    """Whether the process exists and is ours: another user's process has reused the id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
