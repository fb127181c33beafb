"""The command line: `tops COMMAND ...`; each command's code is imported when it is called."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from child_python import avoid_working_folder

_COMMANDS = {
    "serve": ("server.serve", "serve_main", "serve chat completions with just enough thinking"),
    "route": ("router.commands", "route_main", "explain the decision for a prompt"),
    "fit": ("router.commands", "fit_main", "fit and calibrate a router for one model"),
    "replay": ("router.commands", "replay_main", "judge a router on logged outcomes"),
    "problems": ("models.domain.problems", "problems_main", "print demo-domain problems"),
    "generate": (
        "models.outcomes.generate",
        "generate_main",
        "ask a model at every effort, and judge",
    ),
    "calibrate": (
        "models.outcomes.calibrate",
        "calibrate_main",
        "run a model, judge, and fit its router",
    ),
    "savings": ("server.savings.commands", "savings_main", "tell what was saved, measured"),
    "train": ("models.training.commands", "train_main", "train a thinking-optimal model"),
    "load": ("loadtest.commands", "load_main", "run a load test"),
    "key": ("server.api_keys", "key_main", "make an API key"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status, 2 for a command that there is not."""
    avoid_working_folder()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print("usage: tops COMMAND ...    (tops COMMAND --help explains a command)\n")
        for name, (_, _, purpose) in _COMMANDS.items():
            print(f"  {name:<10}{purpose}")
        return 0 if words else 2
    if words[0] not in _COMMANDS:
        near = difflib.get_close_matches(words[0], _COMMANDS, n=1, cutoff=0)[0]
        print(f"tops: unknown command {words[0]}: did you mean {near}?", file=sys.stderr)
        return 2
    module, function, _ = _COMMANDS[words[0]]
    return int(getattr(importlib.import_module(module), function)(words[1:]))


if __name__ == "__main__":
    sys.exit(main())
