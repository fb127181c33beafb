"""Progress on standard error: a bar on a terminal, a line every 30 seconds in a log."""

import sys
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

if TYPE_CHECKING:
    _Tqdm = tqdm[NoReturn]
else:
    _Tqdm = tqdm  # not subscriptable at run time

_LOG_SECONDS = 30
_LOG_LINE = "{n_fmt}/{total_fmt}{unit} ({percentage:.0f} %), {rate_fmt}, {remaining} left"


class _LogProgress(_Tqdm):
    """Writes whole lines instead of redrawing one; the last one when it is closed."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
        self.fp.write(f"{self}\n")
        self.fp.flush()


def progress_bar(total: int, unit: str = "generations") -> _Tqdm:
    """A context manager; its `update()` counts one unit."""
    if sys.stderr.isatty():
        return _Tqdm(total=total, unit=f" {unit}", smoothing=0, dynamic_ncols=True)
    return _LogProgress(
        total=total,
        unit=f" {unit}",
        smoothing=0,
        file=sys.stderr,
        bar_format=_LOG_LINE,
        mininterval=_LOG_SECONDS,
        maxinterval=_LOG_SECONDS,
        miniters=1,
        leave=False,
    )
