"""What the scripted engine is told to do with a request, as words of its last message.

think=20 chunks=100   tokens of thinking, of the answer: a chunk each (these are the defaults)
rate=50               chunks a second; 0 as fast as they can be taken
first=0.5             seconds before the first byte; headers=0.5 before the status line
stall=2@30            two seconds of silence after 30 chunks
error=500             that status; error@30 an error event after 30 chunks
die@30                the connection closed after 30 chunks; die before the status line
endless               chunks until the client leaves
bare                  no usage is told
"""

import re
from dataclasses import dataclass, fields

_WORD = re.compile(r"([a-z]+)(?:=(\d+(?:\.\d+)?))?(?:@(\d+))?")


@dataclass
class Script:
    """What to do with one request; see the module. `at` is the chunk of a stall, error or death."""

    think: int = 20
    chunks: int = 100
    rate: float = 0.0
    first: float = 0.0
    headers: float = 0.0
    stall: float = 0.0
    error: int = 0
    die: bool = False
    endless: bool = False
    bare: bool = False
    at: int | None = None


def read_script(text: str) -> Script:
    """The script of a message; words that are none of it are ignored."""
    script = Script()
    known = {field.name for field in fields(Script)} - {"at"}
    for name, value, at in _WORD.findall(text):
        if name not in known:
            continue
        default = getattr(script, name)
        if isinstance(default, bool):
            setattr(script, name, True)
        elif value:
            setattr(script, name, type(default)(float(value)))
        elif name == "error" and at:
            script.error = 500
        if at:
            script.at = int(at)
    return script
