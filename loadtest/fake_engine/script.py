"""The script of a request to the fake engine, as words of the request's last message.

think=20 chunks=100   thinking and answer tokens, one chunk each (20 and 100 are the defaults)
rate=50               chunks per second; 0 sends as fast as the client reads
first=0.5             seconds before the first byte of the body
headers=0.5           seconds before the status line
stall=2@30            two seconds of silence after 30 chunks
error=500             this HTTP status
error@30              an error event after 30 chunks
die@30                close the connection after 30 chunks; `die` alone before the status line
endless               send chunks until the client disconnects
bare                  no usage in the answer
close                 close the connection after the answer, whose headers promise to keep it
"""

import re
from dataclasses import dataclass, fields

_WORD = re.compile(r"([a-z]+)(?:=(\d+(?:\.\d+)?))?(?:@(\d+))?")


@dataclass
class Script:
    """The behaviour for one request; `at` is the chunk index of a stall, an error or a death."""

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
    close: bool = False
    at: int | None = None


def read_script(text: str) -> Script:
    """Parse a message; words that are no commands are ignored."""
    script = Script()
    commands = {field.name for field in fields(Script)} - {"at"}
    for command, number, at in _WORD.findall(text):
        if command not in commands:
            continue
        default = getattr(script, command)
        if isinstance(default, bool):
            setattr(script, command, True)
        elif number:
            setattr(script, command, type(default)(float(number)))
        elif command == "error" and at:
            script.error = 500
        if at:
            script.at = int(at)
    return script
