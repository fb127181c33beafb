"""Words, names and dates that a clause or a sentence gives as an answer."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import date

from router.answers.clause import affirmed, is_denial
from router.answers.notation import plain, unmarked

_MONTHS = re.findall(
    r"\w+",
    """
    january february march april may june july august september october november december
""",
)
_CLOSED = (
    frozenset(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]),
    frozenset(_MONTHS),
    frozenset({"yes", "no"}),
    frozenset({"true", "false"}),
    frozenset({"valid", "invalid"}),
    frozenset(
        ["north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest"]
    ),
)
"""Words of which a sentence gives exactly one, if it gives an answer."""

_FUNCTIONS = frozenset(
    re.findall(r"\w+", "sin cos tan log ln exp max min lim sqrt det mod arcsin arccos arctan")
)
_WORDS = re.compile(r"[^\W\d_]+(?:[-'.& ,/]+[^\W\d_]+)*[.!]?")
_ARTICLES = re.compile(r"(?:(?:the|an?|it is|it's|it was|it will be|that|simply|just|on|in)\s+)+")
_MADE = (
    "written|composed|painted|invented|discovered|founded|created|directed|developed|designed|built|made|sung|played"
    "|won|led|ruled|signed|located|situated|found|held|born|produced|called|caused|formed|stored|used|proposed|published"
    "|introduced|released|carried|measured|spoken|recorded|formulated|based|performed|done|killed|elected|buried"
)
_LEAD = (
    rf"(?:^(?:\w+ by\b)?|(?<!who )(?<!which )\b(?:is|was|are|were) (?:\w+ly )?(?:{_MADE}) (?:by|in)"
    r"|\bat(?= \d)"
    r"|\b(?:is|was"
    r"|will|must|should|produces?|releases?|contains?|emits?|absorbs?|becomes?"
    r"|ist|est|es|è|are|were|be|been|on|called|known as|named|equals|therefore|so|thus|hence|namely"
    r"|that)\b"
    r"|[:=,]|→)\s*(?:(?:a|an|the|on|in|simply|just|actually|clearly|indeed|called"
    r"|named)\s+)*[\"'(]?"
)
_TAIL = (
    r"(?=[\"')]?(?:$|\s*(?:\((?!or\b|and\b)|[;—](?!\s*or\b)|–(?!\s?\d))|,\s*(?:the|which|because|since|as|an?|so|who|where"
    r"|at|with)\b"
    r"|,?\s+(?:not|rather than|instead of)\b|,\s*(?:of course|obviously|clearly|indeed|i (?:think"
    r"|believe|guess))\W*$"
    r"|\s+(?:because|since|as|who|which|is the|was the)\b))"
)
_SUBJECT = (
    r"^(?:so |therefore |thus )?(?:the )?{}\s(?:\w+ed|has|had|holds|won|wrote)"
    r" (?:the|it|an?|his|her|in)\b[^,;:]*$"
)
_OTHER = re.compile(r"\b(?:who|which|but|while|not|or|with|after|before|for|under)\b")
_OPEN = re.compile(r"\b(?:either|neither|not|never|possibly|maybe|perhaps)\s+(?:\w+\s+)?$|n't\s+$")
_RELATIVE = re.compile(
    r"\b(?:not|by|good|until|every|but|after|before|than|except|or|nor|n't|from|since|unlike"
    r"|half|nearly"
    r"|almost|if)\s+"
    r"(?:(?:an?|it is|it's|that is)\s+)?$"
)
_REJECTED = re.compile(
    r"n't\b|\b(?:not|wrong|incorrect|never|nothing|nobody|none|hardly|barely|scarcely|partly"
    r"|partially|doubt|whether|unless|maybe|perhaps|possibly|would|could|might|if)\b|\bno\b(?!$)"
)
_EMPTY = re.compile(
    r"(?:as follows|correct|right|wrong|clear|obvious|below|above|shown|this|that|it|\W*)?\W*"
)
_DATES = (
    re.compile(
        r"(?P<month>[a-z]{3,9})\.?\s+(?P<day>\d{1,2})(?!\d)(?:st|nd|rd"
        r"|th)?(?:,?\s+(?P<year>\d{4}))?"
    ),
    re.compile(
        r"(?:the\s+)?(?P<day>\d{1,2})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?P<month>[a-z]{3,9})\.?"
        r"(?:,?\s+(?P<year>\d{4}))?"
    ),
    re.compile(r"(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})"),
    re.compile(r"(?P<month>\d{1,2})[-/.](?P<day>\d{1,2})[-/.](?P<year>\d{4})"),
)


_YES_OR_NO = re.compile(
    r"\W*(?:(?:so|therefore|thus|hence)[,\s]+)?(yes|no)\b(?=[^\w/]*$|[*_\"]*\s*[,.;:!(—–]|\s-"
    r"|\s(?:because|since"
    r"|as|it|this|that|these|there|the|he|she|they|we|you|i|[^\Wa-z]|\$)\b)"
    r"(?!.*[,.…:;]\s*(?:(?:so|but|and|then|actually)\s)*(?:yes|no)\b)",
    re.IGNORECASE | re.DOTALL,
)
"""A sentence that begins with yes or no and does not go on with the other."""


def is_phrase(gold: str) -> bool:
    """Whether a gold answer consists of words, or is a date."""
    text = unmarked(plain(gold)).strip()
    if read_date(text):
        return True
    words = re.findall(r"[^\W\d_]+", text.casefold())
    if re.fullmatch(r"[A-Z][a-z]|(?=.*\d)(?:[A-Z][a-z]?\d*){2,}", text):
        return True  # a symbol or formula of chemistry
    if not _WORDS.fullmatch(text) or _FUNCTIONS & set(words):
        return False
    return any(len(word) > 2 or not word.isascii() or word in {"no", "up", "us"} for word in words)


def normal(text: str) -> str:
    """A text in plain notation without case, accents, quotes, articles and final punctuation."""
    decomposed = unicodedata.normalize("NFKD", unmarked(plain(text)).casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    bare = " ".join(bare.split()).strip(" .,:;!\"'")
    bare = re.sub(r"(?<=\d)\s?:\s?(?=\d)", ":", bare)
    bare = re.sub(r"(?<=[a-z)])_(?=\d)", "", bare)
    bare = re.sub(r"\b([ap])\.\s?m\b", r"\1m", bare)
    bare = re.sub(r"^[(\[]([^()\[\]\d]*)[)\]]$", r"\1", bare)
    return _ARTICLES.sub("", bare, count=1) if _ARTICLES.match(bare) else bare


def read_date(text: str) -> tuple[int | None, int, int] | None:
    """Year, month and day of a text that is a date; None where it is none or could be two."""
    text = re.sub(r"^(?:on\s+)?(?:[a-z]+day,?\s+)?", "", text.casefold().strip(" ."))
    for pattern in _DATES:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        month, day = _month(match["month"]), int(match["day"])
        numeric = pattern is _DATES[-1]
        if numeric and month != day and month <= 12 and day <= 12:
            return None
        if numeric and month > 12:
            month, day = day, month
        year = int(match["year"]) if match["year"] else None
        try:
            date(year or 2000, month, day)
        except ValueError:
            return None
        return year, month, day
    return None


def _month(text: str) -> int:
    if text.isdigit():
        return int(text)
    matching = [number for number, name in enumerate(_MONTHS, 1) if name.startswith(text)]
    return matching[0] if len(matching) == 1 else 0


def is_same_phrase(clause: str, gold: str) -> bool:
    """Whether two texts are the same words or the same date; a year may be added."""
    if normal(clause) == normal(gold):
        return True
    answer, right = read_date(normal(clause)), read_date(normal(gold))
    if answer is None or right is None:
        return False
    return answer[1:] == right[1:] and right[0] in (None, answer[0])


def commits_to_phrase(clause: str, gold: str) -> bool | None:
    """Whether a clause gives the gold phrase; None where it gives no answer at all."""
    text = affirmed(clause)
    if is_same_phrase(text, gold):
        return True
    if _EMPTY.fullmatch(normal(text)):
        return None
    return not is_denial(text) and _ends_on(normal(text), gold)


def concludes_phrase(sentences: Sequence[str], gold: str) -> bool:
    """Whether sentences without a stated answer end on the gold phrase."""
    texts = [text for sentence in sentences if (text := unmarked(plain(sentence)).strip())]
    if normal(gold) in {"yes", "no"}:
        for text in reversed(texts):
            if match := _YES_OR_NO.match(text):
                if re.search(r"\b(?:unless|otherwise|only if)\b", text, re.IGNORECASE):
                    return False
                return match[1].casefold() == normal(gold)
    if not texts or texts[-1].endswith("?"):
        return False
    return is_same_phrase(texts[-1], gold) or _ends_on(normal(texts[-1]), gold)


def _ends_on(text: str, gold: str) -> bool:
    """Whether a sentence in normal form puts the gold phrase, and no alternative, forward."""
    target = normal(gold)
    for match in re.finditer(_LEAD + f"(?P<phrase>{re.escape(target)})" + _TAIL, text):
        before = text[: match.start("phrase")]
        if not _OPEN.search(before) and not re.search(
            r"\b(?:or|and|either|which|doubts?|nobody|whether"
            r"|(?:thought|believed|supposed|used) to)\b|[?]",
            before[-40:],
        ):
            return True
    if re.match(_SUBJECT.format(re.escape(target)), text) and not _OTHER.search(text):
        return True
    for members in _CLOSED:
        if target in members:
            return _only_member(text, members) == target
    if read_date(target):
        dates = {read_date(match[0]) for pattern in _DATES for match in pattern.finditer(text)}
        is_other = re.search(
            r"\b(?:not|or|before|after|until)\b|n't|[a-z]\s\d{1,2}\w*\s?[-–]\s?\d", text
        )
        return dates - {None} == {read_date(target)} and not is_other
    return False


def _only_member(text: str, members: frozenset[str]) -> str | None:
    mentions = [match for match in re.finditer(r"\w+", text) if match[0] in members]
    if len({match[0] for match in mentions}) != 1 or _REJECTED.search(text):
        return None
    if any(_RELATIVE.search(text[: m.start()]) or text[m.end() :][:2] == "'s" for m in mentions):
        return None
    return mentions[0][0]
