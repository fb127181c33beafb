"""Run a command that ends when standard input does.

`python -m server.engines.die_with_parent COMMAND...`

For engines that do not watch their parent themselves: if the gateway is killed, its end of the pipe
closes, and the engine with all its own children is told to stop.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

_PATIENCE_SECONDS = 10


def main(command: list[str]) -> int:
    """Run the command; returns its status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - ours

    def stop(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)

    def watch() -> None:
        while os.read(0, 1024):  # not through sys.stdin, whose lock would outlive this thread
            pass
        stop()
        try:
            child.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
