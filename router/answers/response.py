r"""Which answers a response states: boxed, as "the answer is", behind #### or in bold."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from router.answers.clause import HYPOTHETICAL
from router.answers.notation import unmarked

_NOUNS = (
    r"(?:(?:final|correct|right|best|overall|exact|missing|selected|chosen)\s+"
    r"(?:answer|option|choice|response|result|solution|letter|alternative|one)s?"
    r"|solution(?=[*_]*\s*:[*_\s]*\(?[A-J]\b)|my\s+(?:choice|pick|selection)"
    r"|answers?(?:\s(?:choice|option))?|ans\.?"
    r"|(?:opci[oó]n|opção|opzione|option|alternativa)\s+(?:correc?ta|corretta|correcte)"
    r"|richtige\s+(?:option|wahl)|(?:richtige\s+)?(?:antwort|lösung)|(?:end)?ergebnis"
    r"|réponse(?:\s+(?:finale|correcte|est))?|résultat(?:\s+final)?"
    r"|respuesta(?:\s+(?:final|correcta))?|resultado(?:\s+final)?|结果"
    r"|(?:risposta|risultato|resposta)(?:\s+(?:finale?|corretta|correta))?|antwoord"
    r"|الجواب|الإجابة|(?:правильный\s+)?ответ|(?:最终|正确)?(?:的)?(?:答案|选项)|正解|答え?|정답|답)"
)
_LINK = (
    r"(?:(?:is|are|was|would be|will be|should be|must be|has to be|comes? (?:out )?to|equals|turns"
    r" out to be|lautet|ist|beträgt|sind|est|sont|es|son|è|é)\b|应该是|應該是|是|为|為|は|은|는)"
)
_CUE = re.compile(
    rf"(?<![A-Za-zÀ-ÿ])(?P<noun>{_NOUNS})(?![a-zà-ÿ])(?P<qualifier>\s*\([^()\n]{{1,40}}\)"
    r"|\s+that\s(?:best )?(?:fits|matches|works|applies|satisfies)(?:\s\w+){0,4}?"
    r"|\s+(?:to|of|for|in|auf|à|de|a)\s(?:[^.:=\n](?!\b(?:is|ist|est|es)\b)){1,80}?)?"
    rf"[\"'*_`]*(?:,\s\w+,)?\s*(?:{_LINK}\s*(?:therefore|thus|hence|then|also|donc)?[,\s]*[:：]?"
    rf"|(?=isn't\b|is not\b)|[:：=]|[-–—]+>?\s|→|⇒)[\"'*_`\s]*"
    r"|\[(?:final\s)?answer\][:\s]*|(?P<heading>^[\W_]*(?:the\s+)?(?:final\s+)?answer[\W_]*?\n"
    r"|^\W*answer\s+(?=[\d($\\]|[A-J]\b))",
    re.IGNORECASE | re.MULTILINE,
)
_PREDICATE = re.compile(
    r"(?<!\S)(?P<subject>(?:[^\s.!?]|\.(?=\d)){1,40}(?: (?:[^\s.!?]"
    r"|\.(?=\d)){1,40}){0,3}?)\s+(?:is|are|must be"
    r"|would be|ist|est|es)\s+"
    r"(?:therefore |thus |clearly |indeed |then )?(?:the|my|our|die|la)\s+(?!wrong|incorrect"
    r"|worst|false)(?:(?:correct|right|best|only|final|true|exact|actual|likely|proper"
    r"|suitable|appropriate|possible|valid|missing|richtige|correcta|bonne)\s+){0,2}"
    r"(?:answer|antwort|réponse|respuesta)\b(?!\s+(?:to|is|for|if)\b)",
    re.IGNORECASE,
)
_HASHES = re.compile(r"^[ \t]*####[ \t]*(?P<text>\S.*)$", re.MULTILINE)
_TAG = re.compile(
    r"<(?P<tag>answer|final_answer)>(?P<text>.*?)</(?P=tag)>", re.IGNORECASE | re.DOTALL
)
_BOLD = re.compile(r"(?<![\w*])(?:\*\*|__)(?P<text>[^*_\n]{1,120})(?:\*\*|__)(?![\w*])")
_BOX = re.compile(r"\\f?boxed\s*\{")
_DENIED = re.compile(
    r"(?<!only )\b(?:reject(?:ed|s)?|excluded?|eliminated?|discard(?:ed)?|avoid|ruled? out"
    r"|rather than|instead of|not)\W*\Z",
    re.IGNORECASE,
)
"""What comes directly in front of marked text that is no answer."""

_MINUS = re.compile(r"(?:(?:^|\s)-\$?|[$=(:]\s?-\s?\$?)\Z")
_POWER = re.compile(r"\s?(?:\^|\\sqrt|\\pi)[^\s.,;$]*")
_BRACE = re.compile(rf"{_BOX.pattern}|(?<!\\)[{{}}]")

_RETRACTION = re.compile(
    r"(?:\b(?:no,? wait|wait[,.!—…-]|hold on|scratch that|correction[:,]|on (?:second thought"
    r"|reflection)"
    r"|(?:i|we) made an? (?:mistake|error)|(?:that|this)(?:'s| is| was) (?:wrong|incorrect"
    r"|not right"
    r"|not correct|not the (?:right|correct) answer|a mistake)"
    r"|i doubt (?:it|that|this)(?=\s*(?:[.!]|\n|\Z))"
    r"|[.!?\n]\s*(?:wrong|incorrect)[.!]"
    r"|(?:that|this|it) (?:can't|cannot|can not|could not|couldn't|isn't"
    r"|doesn't|does not) (?:be |seem |look |quite ){0,2}(?:right|correct)|(?:that|this) (?:seems"
    r"|looks|must be) (?:wrong|incorrect|off)|edit:|oops|i meant?\b|, no,"
    r"|let me (?:re-?\w+|correct|try again|redo)"
    r"|actually,? (?:no"
    r"|that|it|i))"
    r"|[.!]\s+(?:hmm|actually)\b|[?]\s+no\b)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:(?:do not|don't|cannot|can't|can not|could not|couldn't|unable to|impossible to"
    r"|hard to|not able"
    r" to|no way to)\s+(?:\w+\s+)?(?:know|determine|answer|solve|say|tell|decide|compute"
    r"|calculate|find"
    r"|conclude|be (?:determined|solved|answered|computed|known))|(?:not|isn't|in)\s?(?:enough"
    r"|sufficient)"
    r" (?:information|data)|not sure|unsure|no idea|(?:not|n't) certain|undetermined"
    r"|no (?:unique )?"
    r"(?:answer|solution)|give up|sorry|(?<!\w)N/A|who knows|none of (?:them|the above)"
    r"|could be (?:any"
    r"|either)|(?:might|may|could) be\b|depends on"
    r"|weiß (?:ich |es )*nicht|keine ahnung|ne sais pas|no (?:lo )?sé)\b|不知道|无法|不确定",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:^|[,;:—–(|>→…]|\b(?:so|therefore|thus|hence|and|but|then|now"
    r"|(?:this|that|which) means(?: that)?)\b|[^\x00-\u024f])[\W_]*"
    r"(?:(?:so|therefore|thus|hence|and|then|finally|clearly|that|donc|also|daher|entonces|text"
    r"|based on (?:this|that|the [a-z ]+)|for [a-z] = -?\d+"
    r"|(?:i|we)(?:'m| am| are|'d| would)? (?:think|believe|conclude|find|see|say|know|confident"
    r"|guess|get))\W+)*"
    r"(?:(?:the|this|my|our|your|a|la|le|el|il|o|die|das|der|de|het|l')\s*)?"
    r"(?:[\W_]*(?:only|true|overall|short|bonne|actual|likely|correct|right|best|final|exact)"
    r"[\s_]+)?\W*\Z",
    re.IGNORECASE,
)
"""The beginnings of a clause whose end is "the answer is"; others speak about the answer."""

_UNABLE = re.compile(
    r"\b(?:(?:do not|don't|cannot|can't|could not|couldn't|unable to|not able to) (?:know"
    r"|determine|solve"
    r"|tell|answer)|not sure|unsure|no idea)\b",
    re.IGNORECASE,
)
"""What opens a sentence whose end is a guess."""

_CHOICE = re.compile(r"^\W*\(?[A-Z][).:]\s.*$", re.MULTILINE)
"""A choice with its letter: its text is no refusal."""

_CONTRAST = re.compile(
    r"\b(?:but|however|actually|wait|no|instead|rather|corrected|correction|therefore|so|thus|hence"
    r"|finally|now|then|sorry|mistake|aber|mais|pero)\b|\n\s*\n|但",
    re.IGNORECASE,
)
_ABBREVIATION = (
    r"(?<!\b[A-Za-z]\.)(?<!\b(?:St|Mr|Dr|vs|ca|No|Rs|Ch|Ex|Nr|pp)\.)(?<!\b(?:Mrs|Mio|Mrd|Fig|Sec"
    r"|Vol)\.)"
    r"(?<!\\!)(?<!approx\.)(?<!\b(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Oct|Nov"
    r"|Dec)\.)(?<!\b[eig]\.[eg]\.)"
)
_SENTENCE_END = re.compile(
    rf"(?:(?<=[.!?])|(?<=[.!?][\"')*$]))(?<!\.\.\.){_ABBREVIATION}\s+|(?<=[。！？])"
    rf"|(?<!\\);\s(?![\d(-]|or\b|[A-Z]\W*(?:\n|\Z))|\n+"
)
_ALTERNATIVE = re.compile(
    r"\(?or\b,?(?=\W*(?:\d|\w+\W*$|\(?(?-i:[A-Zb-hj-z])\b))"
    r"|alternatively\b,?(?=\W*[\w.,/-]{1,20}\W*$)",
    re.IGNORECASE | re.MULTILINE,
)
"""What begins a sentence that adds to the one before it."""

_FORMULA_END = re.compile(r"\s*(?:\$\$?|\\[)\]])")
_DISPLAY_END = re.compile(r"[.,;]?\s*(?:\\\]|\$\$|\\end\{|\\\\\s).*", re.DOTALL)
_REMARK = re.compile(
    r"(?:\\[,;: ]|\s)*(?:\\pmod\s*(?:\{[^{}]*\}|\w)|\{\s?\}(?=\^)"
    r"|\\(?:blacksquare|square|qed)(?![A-Za-z]))"
)
"""What a formula has behind its value: a modulus, the end of a proof."""

_PARTED = re.compile(
    r"[=≈≡$&,;:\n]|\\\\|\\[()\[\]]"
    r"|\\(?:approx|sim(?:eq)?|equiv|in|to|implies|iff|(?:Long|long)?[Rr]ightarrow|q?quad|text[a-z]*"
    r"|mbox|begin|end)(?![A-Za-z])|(?<![\\A-Za-z])[^\W\d_]{2,}(?:'[a-z]+)?"
)
"""What parts a formula in front of a marked answer from the term that the answer belongs to."""

_BROKEN_LINE = re.compile(r"\\text[a-z]*\{[^{}]*\}")
_LETTER = re.compile(r"\(?[A-Z]\)?\.(?=\s)")
_FENCE = re.compile(r"^```[^\n]*\n.*?^```\s*$", re.MULTILINE | re.DOTALL)
_SPACE = re.compile(r"\s{8,}")
LONGEST_TEXT = 20_000
"""Characters that are read, from the end of an answer."""

_LONGEST_SENTENCE = 500
_UNFINISHED = re.compile(r"(?<![\w.,/^])[\w.,/^]*\w$")


@dataclass(frozen=True)
class Statement:
    """A clause that is put forward as an answer, from `start` to `end` in the response's text.

    Around one that is marked, such as a box, its sentence has `before` and `behind`.
    """

    text: str
    start: int
    end: int
    bold: bool = False
    before: str = ""
    behind: str = ""

    @property
    def is_marked(self) -> bool:
        return bool(self.before or self.behind)

    @cached_property
    def term(self) -> str:
        """What in front of the text belongs to its term, such as the 2 of 2x."""
        term = _PARTED.split(self.before)[-1].lstrip()
        term = term.removesuffix("-") if self.text.startswith("-") else term
        if not re.search(r"[\w≤≥≠<>√±+^|]", term) or re.fullmatch(r"[A-Za-z']+\s+", term):
            return ""
        return f"{term} " if term[-1].isalnum() else term


@dataclass(frozen=True)
class Response:
    """A model's visible answer, without thoughts and without what it takes back.

    `truncated` says that it was cut off: its final word counts for nothing.
    """

    content: str
    truncated: bool = False

    @cached_property
    def text(self) -> str:
        text = self.content.rpartition("</think>")[2]
        text = text.partition("<think>")[0]
        text = _SPACE.sub(lambda match: "\n\n" if "\n" in match[0] else "  ", text)
        if self.truncated:
            text = _UNFINISHED.sub("", text)
        text = _BROKEN_LINE.sub(lambda match: match[0].replace("\n", " "), text[-LONGEST_TEXT:])
        prose = _FENCE.sub("", text)
        return prose if re.search(r"\w", prose) else text

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Explicit answers in their order; those in bold if there are no others."""
        explicit = [*self._boxes(), *self._phrases()]
        explicit += filter(None, map(self._marked, _TAG.finditer(self.text)))
        explicit += map(self._hashed, _HASHES.finditer(self.text))
        ordered = sorted(explicit, key=lambda statement: statement.start)
        bold = [] if ordered else [*self._bold()]
        return tuple(item for item in ordered or bold if item.start >= self._retracted)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Sentences behind the last retraction, in their order."""
        return tuple(split_sentences(self.text[self._retracted :]))

    @property
    def refuses(self) -> bool:
        """Whether it says that there is no answer, or that it does not know it."""
        if is_refusal(_CHOICE.sub("", self.text)):
            return True
        tags = (match.start() for match in _TAG.finditer(self.text))
        marked = [*tags, *(start for start, _, _ in boxes(self.text))]
        if any(map(self._is_supposed, marked)):
            return True
        starts = (match.start() for match in _CUE.finditer(self.text))
        return any(
            self._is_supposed(start) or not _LEAD.search(_sentence_before(self.text, start))
            for start in starts
        )

    @cached_property
    def _retracted(self) -> int:
        """Where the last retraction ends; 0 if there is none."""
        ends = [match.end() for match in _RETRACTION.finditer(self.text)]
        return ends[-1] if ends else 0

    def _is_supposed(self, start: int) -> bool:
        """Whether an answer at `start` is supposed, doubted, denied or only quoted."""
        before = _sentence_before(self.text, start)
        return any(pattern.search(before) for pattern in (HYPOTHETICAL, _DENIED, _UNABLE))

    def _boxes(self) -> Iterator[Statement]:
        for start, end, content in boxes(self.text):
            if not self._is_supposed(start):
                before, behind = _before(self.text, start), _behind(self.text, start, end)
                sign = "-" if _MINUS.search(before[-5:]) else ""
                power = _POWER.match(behind)
                text = f"{sign}{content}{power[0] if power else ''}"
                behind = behind[power.end() :] if power else behind
                yield Statement(text, start, end, before=before, behind=behind)

    def _hashed(self, match: re.Match[str]) -> Statement:
        start, end = match.span()
        return Statement(match["text"].strip(), start, end, behind=_behind(self.text, start, end))

    def _marked(self, match: re.Match[str], bold: bool = False) -> Statement | None:
        """What a match marks as an answer; None where it is supposed or denied."""
        start, end = match.span()
        is_denied = _DENIED.search(_sentence_before(self.text, start)) is not None
        if is_denied or (not bold and self._is_supposed(start)):
            return None
        before, behind = _before(self.text, start), _behind(self.text, start, end)
        return Statement(match["text"].strip(), start, end, bold, before, behind)

    def _phrases(self) -> Iterator[Statement]:
        for match in _CUE.finditer(self.text):
            if _CUE.match(self.text, match.end()):
                continue  # the next one states it
            clause = _clause(self.text, match.end())
            sentence = _sentence_before(self.text, match.start())
            is_open = HYPOTHETICAL.search(sentence) or _UNABLE.search(sentence)
            if not _BOX.search(clause) and not is_open and _LEAD.search(sentence):
                letter = _LETTER.match(clause)
                end = match.end() + (letter.end() if letter else len(clause))
                yield Statement(clause, match.start(), end)
        for match in _PREDICATE.finditer(self.text):
            if not _BOX.search(match["subject"]):
                yield Statement(match["subject"].strip(), match.start(), match.end())

    def _bold(self) -> Iterator[Statement]:
        for match in _BOLD.finditer(self.text):
            line = self.text[self.text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
            heading = not line and (
                match["text"].rstrip().endswith(":") or self.text[match.end() :][:1] == ":"
            )
            marker = re.fullmatch(r"(?:\d+|[A-Za-z])[.):]", match["text"].strip()) and not line
            label = re.match(
                r"(?:step|part|question|problem)\b", unmarked(match["text"]), re.IGNORECASE
            )
            followed = self.text[match.end() :].split("\n", 1)[0].strip()
            statement = self._marked(match, bold=True)
            if statement and not heading and not label and not (marker and followed):
                yield statement

    def conflicts(self, earlier: Statement, later: Statement) -> bool:
        """Whether two statements stand side by side and neither corrects the other."""
        between = self.text[earlier.end : later.start + 1]
        return "\n" not in between.strip("\n") and not _CONTRAST.search(between)


def _sentence_before(text: str, end: int) -> str:
    return re.split(r"[.!?]\s|\n", text[max(0, end - _LONGEST_SENTENCE) : end])[-1]


def is_refusal(text: str) -> bool:
    """Whether a text says that there is no answer, or that it is not known."""
    return _REFUSAL.search(text) is not None


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Start, end and content of every complete \boxed{...}, nested braces included, in order."""
    complete: list[tuple[int, int, str]] = []
    opened: list[re.Match[str] | None] = []
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            opened.append(brace if len(brace[0]) > 1 else None)
        elif opened and (box := opened.pop()):
            complete.append((box.start(), brace.end(), text[box.end() : brace.start()]))
    return sorted(complete)


def split_sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE_END.split(text) if part and re.search(r"\w", part)]


def _clause(text: str, start: int) -> str:
    """The clause at `start`, through the end of its sentence."""
    opening = re.compile(r"[\s*_`:：]*(?:\\\[|\$\$|\\\()?\s*").match(text, start)
    begin = opening.end() if opening else start
    return f"{text[start:begin]}{_remainder(text, begin)}".lstrip(" \n:：").rstrip("!")


def _remainder(text: str, start: int) -> str:
    """What follows in a sentence, and in the next one if that adds an alternative."""
    limit = start + _LONGEST_SENTENCE
    end = _SENTENCE_END.search(text, start, limit)
    if end and end[0].startswith(";") and re.match(r"(?:isn't|is not|not)\b", text[start:limit]):
        end = _SENTENCE_END.search(text, end.end(), limit)  # what is the answer instead
    if end is None:
        return text[start:limit]
    sentence = text[start : end.start()]
    alternative = _ALTERNATIVE.match(text, end.end())
    if alternative is None:
        return sentence
    following = _SENTENCE_END.search(text, alternative.end(), limit)
    added = text[alternative.end() : following.start() if following else limit]
    return f"{sentence.rstrip('.')} or{added}"


def _before(text: str, start: int) -> str:
    """What precedes marked text in its sentence, which may begin on the line before a formula."""
    before = _BOX.sub("{", _sentence_before(text, start))
    opened = text[max(0, start - _LONGEST_SENTENCE) : start].rstrip(" \t\n$\\[(*_")
    if re.search(r"\w", before) or not opened or opened[-1] in ".!?:;":
        return before
    return f"{_sentence_before(opened, len(opened))}\n{before}"


def _behind(text: str, start: int, end: int) -> str:
    """What follows marked text in its sentence, without the end of the formula that it is in."""
    if text[start:end].rstrip("*_} ")[-1:] in {".", "!", "?"}:
        return ""
    behind = _BOX.sub("{", _REMARK.sub("", _remainder(text, end)))
    formula_end = _FORMULA_END.match(behind)
    if formula_end:
        behind = f" {behind[formula_end.end() :].rstrip('!')}"
    elif _sentence_before(text, start).count("$") % 2:
        behind = behind.replace("$", "", 1)
    return _DISPLAY_END.sub("", behind)
