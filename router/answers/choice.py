"""The letters of a multiple choice that a clause or a response names."""

import re
from collections.abc import Iterator, Sequence

from router.answers.clause import HYPOTHETICAL, affirmed, is_denial
from router.answers.notation import plain, unmarked

_NOT_WORD = r"(?![A-Za-z0-9_'])"
_REASONS = "because|since|as|is|and|or|for|due|which|und|oder|et|ou|y|o"
_CAPITAL = (
    rf"[B-HJ-Z]{_NOT_WORD}|A{_NOT_WORD}(?!\s+[a-z])|A(?=\s+(?:{_REASONS})\b)"
    rf"|I{_NOT_WORD}(?!\s+[a-z])"
)
"""A choice that is neither part of a word, nor an article, nor the pronoun I."""

_NOUN = r"(?:options?|choices?|answers?|letters?|alternatives?|statements?|opci[oó]n|选项)"
_OPENING = re.compile(
    rf"[\W_]*(?:(?:the|an?|la|die)\s+)?(?:(?:both|either|only|clearly|definitely|certainly|probably"
    rf"|most likely)\s+)?"
    rf"(?:(?:correct|right|best)\s+)?(?:{_NOUN}[\s:]*(?:is\s+)?)?[\W_]*?"
    rf"(?:(?P<capital>{_CAPITAL})|\((?P<braced>[a-z])\)|(?P<small>[a-z])(?:[).:]|\W*$))",
)
_FURTHER = re.compile(
    r"[)\]}*\".]*\s*\(?(?:[,;&、+]|(?=[A-Z](?:\s[A-Z])*\W*$)|(?P<open>[/–-]|\b(?:and/or|[oO]r|oder|ou|o|to)\b|或)|\b(?:and|und|et"
    r"|y)\b|和"
    r"|及)\s*"
    rf"(?:(?P<last>and|or)\s+)?(?:(?:also|maybe|possibly|perhaps|even|{_NOUN})\s+)*"
    rf"[(\[]?(?P<letter>[A-Z]{_NOT_WORD}|[a-z](?=[).])(?!\.[eg]\.))"
    r"(?!\s+(?:is|was|because)\b)"
)
_MENTION = re.compile(
    rf"(?<!\w)\(([A-Z])\)(?!\s+(?:is|are|was)\b)|(?i:\b{_NOUN})\s+\(?([A-Z])(?![A-Za-z0-9'])"
)

_CORRECT = re.compile(
    r"(?:^|[\s(*\"])(?P<letters>(?:[A-Z]\)?(?:\s*,\s*(?:and\s+|or\s+)?|\s+and\s+"
    r"|\s+or\s+)\(?)*[A-Z])\)?\"?\s+"
    r"(?:is|are|would be|must be|looks|appears|seems|has to be|ist|est|es|是)\s+"
    r"(?:(?:clearly|the|definitely|therefore|thus|indeed|also|only|most|my|our|una?|la|die)\s+)*"
    r"(?:best|correct|right|answer|true|option|richtig|correcta?|choice|accurate|appropriate"
    r"|likely|(?<=only )(?:one|option|choice)(?: (?:that|which))? (?:fits|works|matches|satisfies))"
    r"(?!\s+that\b)"
    r"|(?<![A-Za-z])(?P<best>[A-Z])\s+(?:makes (?:the )?most sense|(?:fits|works) best)"
    r"|\bwhat\s+(?:(?:option|choice)\s+)?(?P<said>[A-Z])\s+(?:states|says|describes)"
    r"|\bmakes?\s+(?:(?:option|choice)\s+)?(?P<made>[A-Z])\s+(?:the\s+)?(?:correct|right|best"
    r"|answer)"
    r"|\b[Oo]nly\s+(?:(?:option|choice)\s+)?(?P<only>[A-Z])\s+(?:satisf|fits|works|match|holds"
    r"|is left"
    r"|remains|meets)"
    r"|(?P<chinese>[A-Z])\s?(?:选项)?(?:是正确|正确|对)"
)
_PICK = re.compile(
    r"(?:\b|(?=→))(?:(?:i|we)(?:'d| would| will|'ll)?\s+(?:choose|pick|select|go with|say|answer"
    r"|think"
    r"|believe)"
    r"|→(?=\s*\(?(?-i:[A-Z])\)?\W*$)|let me (?:choose|pick|select)|(?:settled?|decided?) on"
    r"|opt(?:ed)? for|going with|confident in"
    r"|\bcorrect(?=:\s*\(?(?-i:[A-Z])\)?\W*$)"
    r"|(?:so|therefore|thus|hence)(?=[\s,:]+\(?(?-i:[A-Z])\)?(?:\s\([^()]*\))?\W*$)"
    r"|(?:so|therefore|thus|hence|,)\s+(?:choose|pick|select)|(?:it|this|that) (?:is|must be"
    r"|would be|has to be)|(?:true|correct|right|valid) statement is"
    r"|(?:that's|that is|which is) (?:true|correct|right|valid) is|(?:leaves|leaving)(?: us with)?"
    r"|it's|(?:correct|right) one is|choice is|option is|matches(?!,)|corresponds to|left with"
    r"|richtig ist"
    r"|(?:supports|favou?rs|points? to|confirms)(?=\s+\(?(?-i:[A-Z])\)?\W*$)"
    r"|^\W*(?:so|yes|clearly|obviously|definitely|certainly|therefore|thus|hence|select|choose"
    r"|pick|antwort"
    r"|answer)(?=[\s,:]+(?:option\s)?\(?(?-i:[A-Z])\)?\W*$))"
    r"[\s,:]*(?P<rest>.*)"
    r"|^\W*(?P<settled>[A-Z])(?= it is\b)|(?:故?应?选择?|选)[:\s]*(?P<chinese>.*)",
    re.IGNORECASE,
)
_REJECTION = re.compile(r"^.*\b(?:wrong|incorrect|false)\b[^,]*,\s*")
_EXCEPTION = re.compile(r"\b(?:but|except|besides|than)\s*\Z")
_CONDITION = re.compile(r"\b(?:if|in|when|under|with|only|had|but)\b")
_ADVERB = re.compile(r",\s(?:obviously|clearly|definitely|of course|i think)\W*$", re.IGNORECASE)
_LINE = re.compile(
    r"^\W*(?:\((?P<braced>[A-Za-z])\)|(?:Option\s+)?(?P<marked>[A-Z])(?:[).:](?=\s|$|\*)|\s[-–—(]"
    r"|,?\s(?:because|since|due)\b|\sit is\b)"
    r"|(?P<lone>[A-Za-z])[^\w?+❌✗✘-]*$)"
)
_DESCRIBED = re.compile(rf"(?i:\b{_NOUN})\s+\(?[A-Z]\)?\s+(?:is an?|describes|repeats|restates)\b")
_COMPLEMENT = re.compile(
    r"(?<![A-Za-z])(?:is|be|get|gives?|remains?|choos(?:e|ing)|pick(?:ing)?|select(?:ing)?)\s+"
    r"(?:(?:clearly|definitely|simply|therefore)\s+)?(?:(?:option|choice|answer)\s+)?"
    r"\(?(?P<letter>[A-Z])\)?(?:\s\([^()]*\))?[.!\s]*$"
)
_VETO = re.compile(
    r"\b(?:not|cannot|never|no|neither|nor|if|or|and|either|between|would|could|might|may|wrong"
    r"|incorrect"
    r"|false|least|worst|weakest|trap|distractor|common|mistake|error|first|second|tempting"
    r"|except|but"
    r"|opposite|after|before|begins|letter|people|students|many|most|others|doubt"
    r"|point|vitamin|plan|part|figure)\b|n't",
    re.IGNORECASE,
)
"""What keeps the letter at the end of a sentence from being its choice."""

_DENIED = re.compile(
    r"[\s:–—-]*(?:is\s+)?(?!not (?:enough|given|sufficient)|no (?:change|error|effect"
    r"|solution))(?:no|not|false|wrong|incorrect|excluded)\b",
    re.IGNORECASE,
)
_REJECTED = re.compile(
    r"\b(?:wrong|incorrect|reject\w*|discard\w*|not|people|students|false|eliminat\w*|rule\w* out"
    r"|either|or|invalid"
    r"|unlikely|refut\w*|stands for|lacks|nothing"
    r"|but|out of|err(?:s|ed)|mistaken|flawed|fails?|contradict\w*|half|partly|partially|nearly"
    r"|almost"
    r"|tempting|trap|distractor|excluded"
    r"|(?:begin|start|end)s? with)\b|n't",
    re.IGNORECASE,
)


_CROSS = re.compile("[✗✘❌]")
_FALSE = re.compile(r"\s+(?:is|was)\s+(?:false|wrong|incorrect|not)\b", re.IGNORECASE)


def gold_letters(gold: str) -> frozenset[str] | None:
    """The letters of a gold answer such as B, (B), b) or "A and C"; None for any other."""
    text = unmarked(plain(gold)).strip()
    if re.fullmatch(r"\(?[A-Z]\)?[.:]?|\([a-z]\)|[a-z]\)", text):
        return frozenset(re.sub(r"[^A-Za-z]", "", text).upper())
    if re.fullmatch(r"\(?[A-Z]\)?(?:\s*(?:,\s*and\s|,|\band\b|&)\s*\(?[A-Z]\)?)+", text):
        return frozenset(re.findall(r"[A-Z]", text))
    return None


def committed_letters(clause: str) -> frozenset[str] | None:
    """The letters that a clause puts forward, empty if it denies; None where it names no letter."""
    text = affirmed(clause)
    if is_denial(text):
        return frozenset()
    match = _OPENING.match(text)
    if match is None:
        mentioned = {a or b for a, b in _MENTION.findall(text)}
        return frozenset(mentioned) or None
    letters = {(match["capital"] or match["braced"] or match["small"]).upper()}
    end = match.end()
    if _FALSE.match(text, end):
        return frozenset()
    while further := _FURTHER.match(text, end):
        if further["open"] or further["last"] == "or":
            return frozenset()
        letters.add(further["letter"].upper())
        end = further.end()
    return frozenset(letters)


def concluded_letters(sentences: Sequence[str]) -> frozenset[str]:
    """The letters on which sentences without a stated answer agree; empty if they do not."""
    texts = [unmarked(plain(sentence)).strip() for sentence in sentences]
    texts = [text for text in texts if not _CROSS.search(text)]
    if len(texts) == 1 and (letters := gold_letters(_ADVERB.sub("", texts[0]).rstrip(".!"))):
        return letters
    for read in (_correct, _picked, _at_line_start, _at_end):
        choices = set(read(texts))
        if choices:
            return choices.pop() if len(choices) == 1 else frozenset()
    final = texts[-1] if texts else ""
    mentioned = {a or b for a, b in _MENTION.findall(final)}
    return (
        frozenset() if _DESCRIBED.search(final) or _REJECTED.search(final) else frozenset(mentioned)
    )


def _correct(texts: Sequence[str]) -> Iterator[frozenset[str]]:
    for text in texts:
        for match in _CORRECT.finditer(text):
            before = text[: match.start()]
            is_supposed = (
                re.match(r"\s+(?:only\s+)?(?:if|unless)\b", text[match.end() :])
                or ("would" in match[0] and _CONDITION.search(text, match.end()))
                or (re.search(r"\bseems .*\bbut\b", text[match.start() :]))
            )
            if (
                text.endswith("?")
                or is_supposed
                or _EXCEPTION.search(before)
                or _PICK.search(text, match.end())  # it is the premise of a choice
                or HYPOTHETICAL.search(_REJECTION.sub("", before))
            ):
                continue
            groups = ("letters", "only", "best", "made", "said", "chinese")
            named = next(match[group] for group in groups if match[group])
            yield frozenset(re.findall(r"[A-Z]", named))


def _picked(texts: Sequence[str]) -> Iterator[frozenset[str]]:
    for text in texts:
        match = _PICK.search(text)
        if match and not text.endswith("?") and not HYPOTHETICAL.search(text[: match.start()]):
            letters = committed_letters(match["rest"] or match["settled"] or match["chinese"] or "")
            if letters is not None:
                yield letters


def _at_end(texts: Sequence[str]) -> Iterator[frozenset[str]]:
    """The letter on which a sentence ends: "the best fit is B"."""
    for text in texts:
        match = _COMPLEMENT.search(text)
        if match and not _VETO.search(text[: match.start()]):
            yield frozenset(match["letter"])


def _at_line_start(texts: Sequence[str]) -> Iterator[frozenset[str]]:
    for text in texts:
        match = _LINE.match(text)
        is_list = re.search(r"[,;]\s\(?[B-J][).:]\s", text)
        if (
            match
            and not is_list
            and not text.endswith("?")
            and not _DENIED.match(text, match.end())
        ):
            letter = match["braced"] or match["marked"] or match["lone"]
            yield committed_letters(text) or frozenset(letter.upper())
