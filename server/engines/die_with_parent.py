"""Run a command until it exits or standard input ends.

`python -m server.engines.die_with_parent COMMAND...`

For engines that do not watch their parent themselves: if the gateway is killed, its end of the pipe
closes, and the engine and all of its own subprocesses are terminated.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

_TERMINATE_SECONDS = 10


def main(command: list[str]) -> int:
    """Run the command; returns its exit status."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - ours

    def terminate(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    def watch_parent() -> None:
        while os.read(0, 1024):  # not through sys.stdin, whose lock would outlive this thread
            pass
        terminate()
        try:
            process.wait(_TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, terminate)
    threading.Thread(target=watch_parent, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
