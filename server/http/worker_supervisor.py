"""uvicorn's supervisor of worker processes, which notices their ends, and lets them end well."""

import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress

import uvicorn
from uvicorn.supervisors import Multiprocess, multiprocess

from server.http.stoppable_server import StoppableServer

_EXIT_POLL_SECONDS = 0.2


class WorkerSupervisor(Multiprocess):
    """uvicorn's supervisor, which notices at once that a worker ended while it started.

    uvicorn keeps the worker's end of their pipe open in the parent, so its wait for the answer to a
    ping lasts for the whole time-out (30 s here), although the worker is gone.

    Workers start with SIGINT blocked, and unblock it when they can handle it: Ctrl-C would be a
    traceback of each. A second Ctrl-C reaches them even if only the parent gets it.
    """

    def init_processes(self) -> None:
        with _blocked_interrupts():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        for process in self.processes:
            process.child_conn.close()
        with _blocked_interrupts():
            super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        super().terminate_all()
        for listener in self.sockets:  # connections that no worker accepts any more are refused
            listener.close()

    def join_all(self) -> None:
        for process in self.processes:
            while process.process.is_alive():
                process.process.join(_EXIT_POLL_SECONDS)
                if signal.SIGINT in self.signal_queue:
                    self.signal_queue.clear()
                    self._interrupt_all()
        super().join_all()

    def _interrupt_all(self) -> None:
        for worker in self.processes:
            if worker.pid is not None and worker.process.is_alive():
                with suppress(ProcessLookupError):  # see `WorkerProcess`
                    os.kill(worker.pid, signal.SIGINT)


class WorkerProcess(multiprocess.Process):
    """A worker that signals end by way of its server only.

    uvicorn raises the signals that stopped it once more at its end, to be handled by these: the
    default handlers would end the process before open requests have their rows in the ledger.

    The process that forked it reaps it, a moment before this one knows that it has ended.
    """

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = StoppableServer(self.config)
        return self._server

    def terminate(self) -> None:
        with suppress(ProcessLookupError):
            super().terminate()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        signal.signal(signal.SIGINT, self.server.handle_exit)
        signal.signal(signal.SIGTERM, self.server.handle_exit)
        super().target(sockets)


multiprocess.Process = WorkerProcess  # what the supervisor starts; it has no parameter for it


@contextmanager
def _blocked_interrupts() -> Generator[None]:
    """Block SIGINT for this thread, and so for the processes that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
