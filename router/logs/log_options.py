"""What a log does not say itself: which of its scores counts, the effort, the tokenizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from router.logs.row import OutcomeError

_BYTES_PER_TOKEN = 4
"""Of English text with current tokenizers; Chinese has fewer bytes, and fewer tokens, a word."""


def estimated_tokens(text: str) -> int:
    """The number of tokens of a text, from its length in UTF-8."""
    return -(-len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


@dataclass(frozen=True)
class LogOptions:
    """`scores`: names, of which a log has one. `effort`: of logs that name none, if not None.

    `efforts`: of single logs, by path or file name. `tokens`: of a text, where a log has no count;
    `is_exact`: whether that is by the model's tokenizer.
    """

    scores: Sequence[str] = ()
    effort: str | None = None
    efforts: dict[str, str] = field(default_factory=dict[str, str])
    tokens: Callable[[str], int] = estimated_tokens
    is_exact: bool = False

    @classmethod
    def of(
        cls, scores: Sequence[str], efforts: Sequence[str], tokenizer: str | None
    ) -> "LogOptions":
        """The options of a command line: `efforts` are EFFORT or FILE=EFFORT.

        Raises OutcomeError: two efforts for all logs, or a tokenizer that cannot be read.
        """
        general = [text for text in efforts if "=" not in text]
        if len(general) > 1:
            raise OutcomeError(
                f"--effort is given twice for all logs ({', '.join(general)}): "
                "give --effort FILE=EFFORT for each log"
            )
        single = dict(text.rsplit("=", 1) for text in efforts if "=" in text)
        effort = general[0] if general else None
        if tokenizer is None:
            return cls(scores, effort, single)
        return cls(scores, effort, single, _tokenizer(tokenizer), is_exact=True)

    def effort_of(self, path: str, configured: str | None) -> str:
        """The effort of a log, from its own configuration or from the options.

        Raises OutcomeError: neither has it.
        """
        name = Path(path).name
        effort = self.efforts.get(path) or self.efforts.get(name) or configured or self.effort
        if not effort:
            raise OutcomeError(
                f"{path}: its configuration names no reasoning effort and no thinking budget; say "
                f"at which effort it was run: --effort {name}=high (or --effort high, for all logs "
                "that name none)"
            )
        return effort


def _tokenizer(path: str) -> Callable[[str], int]:
    from tokenizers import Tokenizer  # noqa: PLC0415 - 0.05 s, for those who count

    file = Path(path)
    file = file / "tokenizer.json" if file.is_dir() else file
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise OutcomeError(f"--tokenizer {path}: {error}") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
