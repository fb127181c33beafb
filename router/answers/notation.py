"""One plain notation for LaTeX, Markdown and Unicode: what the readers of answers parse."""

import re
import unicodedata

_SPACES = re.compile(
    r"\\[,;: ]|\\q?quad(?![a-z])|(?<!\\)~(?=\S)|[\u00a0\u2000-\u200a\u202f\u205f\u3000]"
)
_DROPPED = re.compile(
    r"\\!|\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits|phantom\{[^{}]*\})(?![A-Za-z])"
    r"|[\u200b-\u200f\u2060\ufeff]"
)
_WRAPPER = re.compile(
    r"\\(?:text|math|mbox|operatorname|textnormal)(?:bf|it|rm|sf|tt|up|bb|cal|normal)?\*?\s*"
    r"\{([^{}]*)\}"
)
_FRACTION = re.compile(
    r"(?P<digit>\d?)\\[dtc]?frac\s*(?:\{(?P<a>[^{}]*)\}|(?P<b>\d))\s*(?:\{(?P<c>[^{}]*)\}"
    r"|(?P<d>\d))"
)
_ROOT = re.compile(r"\\sqrt\s*(?:\{([^{}]*)\}|(\d))")
_BRACED = re.compile(r"([_^])\{\s*(-?\w+)\s*\}")
_SIMPLE = re.compile(r"\d+(?:\.\d+)?|[A-Za-z]")

_COMMANDS = {
    **dict.fromkeys(("times", "cdot", "ast"), "*"),
    "div": "/",
    "pi": "π",
    "infty": "∞",
    "pm": "±",
    "mp": "±",
    **dict.fromkeys(("geq", "ge", "geqslant"), "≥"),
    **dict.fromkeys(("leq", "le", "leqslant"), "≤"),
    **dict.fromkeys(("neq", "ne"), "≠"),
    "gt": ">",
    "lt": "<",
    **dict.fromkeys(("approx", "simeq"), "≈"),
    **dict.fromkeys(("circ", "degree"), "°"),
    **dict.fromkeys(("rightarrow", "to", "Rightarrow", "implies", "longrightarrow"), "→"),
    "cup": "∪",
    "in": "∈",
    **dict.fromkeys(("dots", "ldots", "cdots"), "…"),
    "lbrace": "{",
    "rbrace": "}",
    "therefore": "therefore ",
    "euro": "€",
    "pounds": "£",
}
_COMMAND = re.compile(rf"\\({'|'.join(_COMMANDS)})(?![A-Za-z])")
_ESCAPED = re.compile(r"\\([%#&_{}])")
_DELIMITERS = re.compile(r"\\[()\[\]]|\$|\\(?:begin|end)\{(?:align|equation|gather|math)\*?\}")
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2212\ufe63\u2010\u2011", "-"),
        "×": "*",
        "·": "*",
        "⋅": "*",
        "÷": "/",
        "⁄": "/",
        "。": ". ",
        "、": ", ",
        "٫": ".",
        "٬": ",",
        "⩾": "≥",
        "⩽": "≤",
        "\u2019": "'",
        "“": '"',
        "”": '"',
        "【": "[",
        "】": "]",
    }
)
_DOLLAR = re.compile(
    r"(?:\b(?:US|CA|AU|NZ|HK|[AC])(?=\\?\$\s?\d))?(?P<escaped>\\)?\$"
    r"(?P<amount>(?=\s?-?\.?\d)(?=[^$\n]*(?:\n|\Z)|[^$\n]*\s[a-z]{2,}\s))?"
)
"""A dollar sign, and whether it stands for money: no formula ends behind it, or it is escaped."""

_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_MONEY = "\x00"
_SUBSCRIPT = re.compile("(?<=[\\w)])[₀₁₂₃₄₅₆₇₈₉]+")
_TAG = re.compile(r"</?(?:b|strong|i|em|u|p|br|span)\s*/?>", re.IGNORECASE)
_SUPERSCRIPT = re.compile("(?<=[\\w)])[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_POWER_STARS = re.compile(r"(?<=[\w)])\*\*(?=[\d(-])(?=[^*\n]*(?:\n|$))")


def plain(text: str) -> str:
    r"""A text in plain notation: \frac{1}{2}, and ½ are both 1/2, and 2^{10} is 2^10.

    Math delimiters go; dollars of money, text in \text{} and the like, and Markdown stay.
    """
    text = _CALCULATOR.sub("", text) if "<<" in text else text
    if text.count("$") == 1:
        text = re.sub(r"(?<=\d)\s?\$(?=\W*$)", r" \\$", text)
    if "$" in text:
        text = _DOLLAR.sub(
            lambda m: _MONEY if m["escaped"] or m["amount"] is not None else "$", text
        )
    if "\\" in text:
        text = _without_latex(text)
    text = _SPACES.sub(" ", text).replace("{,}", ",")
    text = _REPEATED.sub(_as_fraction, text) if "." in text else text
    text = text.replace("$", "").replace(_MONEY, "$")
    text = _TAG.sub("", text) if "<" in text else text
    text = text.replace("=>", "→").replace("->", "→")
    if not text.isascii():
        text = _SUPERSCRIPT.sub(_as_power, text)
        text = _SUBSCRIPT.sub(_as_index, text)
        text = _NOT_ASCII.sub(_compatible, text).translate(_CHARACTERS)
        text = re.sub(r"(?<![\w–)])(\s*)–(?=\d)", r"\1-", text)
    text = re.sub(r"(?<![\d.,/])(\d+) out of (\d+)(?!\d|[.,]\d)", r"\1/\2", text)
    return re.sub(r"[ \t]{2,}", " ", _BRACED.sub(r"\1\2", text))


_REPEATED = re.compile(
    r"(?<![\d.,])(?P<integer>\d{0,9})\.(?:(?P<once>\d{0,9})\\(?:overline"
    r"|bar)\s?(?:\{(?P<line>\d{1,9})\}"
    r"|(?P<digit>\d))|(?P<start>\d{0,9}?)(?P<cycle>\d{1,9}?)(?P=cycle){2,}(?:\.\.\.|…|\\l?dots))"
)


def _as_fraction(match: re.Match[str]) -> str:
    r"""0.\overline{3} and 0.333... as 3/9."""
    once = match["once"] or match["start"] or ""
    cycle = match["line"] or match["digit"] or match["cycle"]
    before = int((match["integer"] or "0") + once)
    below = (10 ** len(cycle) - 1) * 10 ** len(once)
    return f"{before * (10 ** len(cycle) - 1) + int(cycle)}/{below}"


def _without_latex(text: str) -> str:
    text = re.sub(r",\s*\\!\s*", ",", text.replace("\\\\", "\n"))
    text = _DROPPED.sub("", text)
    text = _ESCAPED.sub(r"\1", re.sub(r"\^\s*\{?\s*(\\circ|\\degree)\s*\}?", r"\1", text))
    text = _SPACES.sub(" ", text)
    while True:
        reduced = _ROOT.sub(_as_root, _FRACTION.sub(_as_quotient, _WRAPPER.sub(r"\1", text)))
        if reduced == text:
            break
        text = reduced
    return _COMMAND.sub(lambda match: _COMMANDS[match[1]], _DELIMITERS.sub(" ", text))


def _as_quotient(match: re.Match[str]) -> str:
    above, below = match["a"] or match["b"] or "", match["c"] or match["d"] or ""
    space = f"{match['digit']} " if match["digit"] else ""
    return f"{space}{_grouped(above)}/{_grouped(below)}"


def _grouped(term: str) -> str:
    return term.strip() if _SIMPLE.fullmatch(term.strip()) else f"({term})"


def _as_root(match: re.Match[str]) -> str:
    return f"√({match[1] or match[2] or ''})"


def _as_power(match: re.Match[str]) -> str:
    return "^" + unicodedata.normalize("NFKC", match[0]).replace("\u2212", "-")


def _as_index(match: re.Match[str]) -> str:
    return "_" + unicodedata.normalize("NFKC", match[0])


def _compatible(match: re.Match[str]) -> str:
    """Full-width forms, digits of any script and vulgar fractions in ASCII; else the character."""
    character = match[0]
    if "\uff01" <= character <= "\uff5e":
        return unicodedata.normalize("NFKC", character)
    if unicodedata.decomposition(character).startswith("<fraction>"):
        before = match.string[: match.start()][-1:]
        fraction = unicodedata.normalize("NFKC", character).replace("⁄", "/")
        return f" {fraction}" if before.isdigit() else fraction
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.digit(character))
    return character


def unmarked(text: str) -> str:
    """A text without Markdown's emphasis, code marks and headings; 2**10 becomes 2^10."""
    text = _POWER_STARS.sub("^", text)
    text = re.sub(
        r"\*{2,}|__|`+|^\s*#{1,6}\s+|^\s*>\s+(?=[A-Za-z*#])", "", text, flags=re.MULTILINE
    )
    return re.sub(r"(?<![\w*_])[*_](?=\S)([^*_\n]*)(?<=\S)[*_](?![\w*_])", r"\1", text)
