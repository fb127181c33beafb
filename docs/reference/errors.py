"""The page on errors: classes, and the texts with which each is raised."""

import ast
from collections import defaultdict

from docs.reference.code_texts import (
    ROOT,
    called,
    calls,
    constants,
    modules,
    possible_texts,
    text_of,
    tree_of,
)
from docs.reference.command_errors import INTRODUCTION, command_messages
from docs.reference.markdown import listed, page, table
from server import errors

_ERRORS = """\
Every error is OpenAI's envelope; on `/v1/messages` it is Anthropic's, with the same fields inside:

```json
{"error": {"message": "...", "type": "invalid_request_error", "param": "max_tokens", "code": null}}
```

After the first byte of a stream the status cannot change any more. The error is then an event of
the stream, and the stream ends. [Troubleshooting](../troubleshooting.md) says what to do about
each. In the texts below, `…` stands for a value.

Besides these, an unknown path is 404, a wrong method 405, a failure of the gateway itself 500 with
the type `server_error`, and 499 in logs and metrics means that the client disconnected. An engine's
own refusals (400 to 499) pass through with their status, error and `Retry-After`; a page of HTML,
such as a proxy sends, is left out. A 401 is of the gateway's own key, and becomes a 502."""

_STARTUP = """\
`tops serve` refuses what it cannot run with. It prints one of these on standard error, after the
name of the setting where there is one, and exits with status 2; with status 1 where the engine is
at fault."""

_ABSTAINED = """\
Where the router cannot judge a prompt, the request gets the baseline effort. The reason is in the
header `x-tops-abstained`, in `POST /v1/route`, in the log and in the ledger."""


def text() -> str:
    messages = error_messages()
    rows = [
        (
            _status(kind),
            f"`{kind.code}`" if kind.code else "-",
            "OpenAI's for the status" if kind is errors.EngineRefused else f"`{kind.type}`",
            "-" if kind.retry_after is None else f"{kind.retry_after} s",
            _summaries()[kind.__name__],
        )
        for kind in error_classes()
    ]
    parts = [
        _ERRORS,
        table(("status", "code", "type", "Retry-After", "meaning"), rows),
        "## Messages",
    ]
    for kind in error_classes():
        texts = messages.get(kind.__name__)
        if texts:
            code = f", code `{kind.code}`" if kind.code else ""
            parts += [f"### {_status(kind)}{code}", listed(texts)]
    parts += ["## Start-up", _STARTUP, listed(startup_messages())]
    parts += ["## Commands", INTRODUCTION]
    for commands, texts in messages_of_commands().items():
        parts += [f"### {commands}", listed(texts)]
    parts += ["## Abstentions", _ABSTAINED, listed(abstentions())]
    return page("Errors", *parts)


def _status(kind: type[errors.GatewayError]) -> str:
    return "engine's" if kind is errors.EngineRefused else str(kind.status)


def error_classes() -> list[type[errors.GatewayError]]:
    """The errors that are raised: every subclass that has a status of its own, by status."""
    leaves = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.GatewayError)
        and kind not in (errors.GatewayError, errors.EngineError)
    ]
    return sorted(leaves, key=lambda kind: 499 if kind is errors.EngineRefused else kind.status)


def _summaries() -> dict[str, str]:
    """What the tree in the module's docstring says of each class."""
    lines = (errors.__doc__ or "").splitlines()
    words = [line.strip("├└│─ ").split(maxsplit=2) for line in lines]
    return {line[0]: line[2] for line in words if len(line) == 3 and line[0] in vars(errors)}


def error_messages() -> dict[str, list[str]]:
    """The texts of each error, by class name, from the calls that make them."""
    names = {kind.__name__: kind.__name__ for kind in error_classes()}
    names["LedgerDown"] = "LedgerUnavailable"
    texts: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules("server"):
        for call in calls(module):
            name = names.get(called(call))
            if name and call.args and (text := text_of(call.args[0], constants(module))):
                texts[name].add(text)
    texts["Stopping"].add(errors.Stopping().message)
    texts["LimitsUnavailable"].add(errors.LimitsUnavailable().message)
    return {name: sorted(found) for name, found in texts.items()}


def startup_messages() -> list[str]:
    """The texts with which settings, artifacts and ledgers are refused."""
    files = [*(ROOT / "server/config").glob("*.py"), ROOT / "server/serve.py"]
    files += [ROOT / "router/artifact.py", ROOT / "router/router.py"]
    files += [ROOT / "server/ledger/schema.py"]
    texts: set[str] = set()
    for file in files:
        names = {"SettingsError", "ArtifactError", "LedgerError"}
        if file.parent.name == "config":
            names.add("ValueError")
        module = tree_of(file)
        for call in calls(module):
            if called(call) in names and call.args:
                texts.add(text_of(call.args[0], constants(module)) or "")
    supervisor = tree_of(ROOT / "server/engines/supervisor.py")
    for function in ast.walk(supervisor):
        if getattr(function, "name", "") == "_describe":
            returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
            texts |= {(text_of(value, {}) or "") for value in returned if value is not None}
    return sorted(text for text in texts if text.strip("… :"))


def messages_of_commands() -> dict[str, list[str]]:
    """The texts with which other commands end, without those that `tops serve` prints too."""
    return command_messages(startup_messages())


def abstentions() -> list[str]:
    """The reasons with which the router leaves a prompt to the baseline effort."""
    texts: set[str] = set()
    for module in (*modules("router"), *modules("server")):
        for function in ast.walk(module):
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in calls(function):
                if called(call) in ("Abstention", "without_artifact"):
                    texts.update(*(possible_texts(word, constants(function)) for word in call.args))
    for call in calls(tree_of(ROOT / "router/messages.py")):
        if called(call) in ("append", "Conversation"):
            texts.update(*(possible_texts(word, {}) for word in call.args))
    return sorted(text for text in texts if " " in text.strip("… "))
