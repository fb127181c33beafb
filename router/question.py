"""What a conversation asks, without what surrounds it: for estimates of the question alone.

Removes instructions, reminders, retrieved documents and examples. Where a text may be part of the
question or not, or where the question is not in English, the result is unreadable and says so.
"""

import re
from dataclasses import replace
from itertools import islice

from router.conversation import routed_text
from router.features import window
from router.language import FUNCTION_WORDS, is_english
from router.messages import Conversation, Turn

_MAX_INDENT = 40
_MAX_BLOCKS = 64
"""Each costs a search for its end."""
_MAX_SEPARATE = 600
"""The most characters of a question that is told from a text before it without a label."""
_MIN_BEFORE = 100
"""The fewest characters before a question on the same line."""
_SENTENCE_END = re.compile(
    r"(?<=[a-z0-9)\"][a-z0-9)\"])[.!?]\"?\s+(?=[A-Z\"'(])"
    r"|\s(?=(?:What|Who|When|Where|Why|Which|How)\s)"
)
_BEGINS = re.compile(
    r"[\"'(\u201c\u00bf]?(?:[^\W_a-z]|(?:what|who|when|where|why|which|how|is|are|do|does|did|can|"
    r"could|would|should|will)\b)"
)
_HALF_WINDOW = 8_000
"""Characters at each end of a text without blocks in which the question is looked for."""
_HALF_TEXT = 250_000
"""Characters at each end of a text in which blocks are looked for."""
_MAX_TAGS = 1_000
_BLOCK = re.compile(r"<([A-Za-z][\w.:-]{0,63})(?:[ \t][^<>\n]{0,500})?>")
_QUESTION_BLOCKS = frozenset((
    "question", "query", "user_query", "userquery", "user-query", "user_request", "userrequest",
    "user_question", "task", "request", "user_message", "user_input", "prompt", "problem",
    "feedback",
))  # fmt: skip
_CODE_BLOCKS = frozenset((
    "html", "head", "body", "div", "p", "span", "a", "ul", "ol", "li", "table", "tr", "td", "th",
    "thead", "tbody", "h1", "h2", "h3", "h4", "form", "input", "button", "script", "style", "svg",
    "img", "section", "main", "nav", "header", "footer", "label", "select", "option", "textarea",
    "br", "pre", "code",
))  # fmt: skip

_LABEL = (
    r"(?mi)^[#>*_\-\[( \t]{{0,12}}(?:\d{{1,3}}[.)][ \t]?)?(?:{0})[ \t\])*_]{{0,6}}[:\uff1a][ \t*_]*"
    r"|^[ \t]{{0,8}}(?:#{{1,6}}|\*\*)[ \t]?(?:{0})[ \t*]{{0,6}}$"
)
"""At the beginning of a line, with a colon behind it, or alone as a heading."""
_ASKS = re.compile(
    _LABEL.format(
        "(?:here(?:'s| is) )?(?:(?:the|my|your|user'?s?|original|current|final|new|last"
        "|follow[- ]?up|human)[ _])*(?:question|query|request|task|problem)|q|user|human"
        "|(?:please )?(?:answer|respond to) (?:the|this|my|user'?s?|following|question|query| )+"
        "|frage|pregunta|pergunta|domanda|vraag|вопрос|问题|問題|質問|질문"
    )
)
_GIVES = re.compile(
    _LABEL.format(
        "(?:(?:the|relevant|retrieved|following|additional|supporting|provided|background|given"
        "|important)[ _])*(?:contexts?|documents?|passages?|sources?|search results?|background"
        "|information|references?|excerpts?|knowledge|snippets?|chunks?|evidence|memory|reminder)"
        "(?: information)?"
    )
)
_ANSWER = re.compile(
    r"(?i)\n[ \t#*_]*(?:the |your |helpful |final |short |detailed )?"
    r"(?:answer|response|reply|output|a|assistant|ai)[ \t*_]*[:\uff1a][ \t*_]*\Z"
)
_BACKWARD = re.compile(
    r"(?i)\b(?:this|that|these|those|above|below|following|former|latter|preceding|previous|given|"
    r"passage|paragraph|text|article|author|document|context|excerpt|story|snippet|it|its|they|"
    r"them|their|he|him|his|she|her|both|same|such|now|therefore|reasoning|steps|work|answers?)\b"
)
_QUANTITY = re.compile(
    r"(?i)\b(?:how (?:many|much|long|far|old|often|fast|tall|big|large|high)|number|value|sum|"
    r"total|area|length|price|cost|probability|ratio|average|percentage|amount|distance|speed|time|find|"
    r"compute|calculate|determine|evaluate|solve)\b"
)
_NUMBER = re.compile(
    r"(?i)\d+|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|dozen|half|twice|double)\b"
)
_REQUEST = re.compile(
    r"(?i)(?:please )?(?:write|tell|name|list|give|describe|define|prove|show|find|compute|"
    r"calculate|determine|solve|suggest|recommend|create|compose|plan|draft|explain|hi|hello|hey|"
    r"thanks|thank you)\b"
)
_TECHNICAL = re.compile(r"(?i)[\\$={}^|]|```|\b(?:let|suppose|assume|denote)\b")
_LIST_ITEM = re.compile(r"[\[(]?(?:[A-Za-z]|\d{1,2})[.):\]]|[-*\u2022]")
_CONTENT_WORD = re.compile(r"[^\W\d_]{4,}")


def question(conversation: Conversation) -> Conversation:
    """One user message with the question of a conversation; unreadable where that is unclear."""
    if conversation.unreadable is not None:
        return conversation
    turns: list[Turn] = []
    for turn in conversation.turns:
        text: str | None = turn.text
        if turn.role == "user" and not turn.tool_result:
            text = question_of(turn.text)
        if text is None:
            return Conversation((turn,), "it is unclear where the question begins")
        turns.append(replace(turn, text=text))
    text = routed_text(Conversation(tuple(turns)))
    cause = None if is_english(text) else "the question is not in English"
    return Conversation((Turn("user", text),), cause)


def question_of(text: str) -> str | None:
    """The question in a user's message; None where its last part may be all of it, or its end."""
    text = _without_blocks(window(text, _HALF_TEXT)).strip()
    ends = window(text, _HALF_WINDOW)
    separate = _separate(ends)
    return text if separate == ends else separate


def _separate(text: str) -> str | None:
    """`question_of` a text without blocks."""
    text = _ANSWER.sub("", text).strip()
    labels = list(_ASKS.finditer(text))
    if labels:
        labelled = text[labels[-1].end() :]
        context = _GIVES.search(labelled)
        return (labelled[: context.start()] if context else labelled).strip() or text
    context = _GIVES.search(text)
    if context and text[: context.start()].strip().endswith(("?", ".", "!")):
        return text[: context.start()].strip()
    return _last_part(text)


def _without_blocks(text: str) -> str:
    """The text without blocks of markup, or the inside of the last block that holds a question.

    Blocks within a line count only where their name is none of a markup language's.
    """
    parts: list[str] = []
    unclosed: set[str] = set()
    end = blocks = 0
    labelled: str | None = None
    for opening in islice(_BLOCK.finditer(text), _MAX_TAGS):
        name = opening[1]
        if opening.start() < end or not _is_block(text, opening) or name in unclosed:
            continue
        closing = text.find(f"</{name}>", opening.end())
        if closing < 0:
            unclosed.add(name)
        else:
            if name.lower() in _QUESTION_BLOCKS:
                labelled = text[opening.end() : closing]
            parts.append(text[end : opening.start()])
            end = closing + len(name) + 3
        blocks += 1
        if blocks == _MAX_BLOCKS:
            break
    return "".join([*parts, text[end:]]) if labelled is None else labelled


def _is_block(text: str, opening: re.Match[str]) -> bool:
    """Whether a tag begins a line or has a name like none of a markup language."""
    name = opening[1].lower()
    if name in _CODE_BLOCKS:
        return False
    if name in _QUESTION_BLOCKS or "-" in name or "_" in name:
        return True
    line = text.rfind("\n", 0, opening.start()) + 1
    return opening.start() - line <= _MAX_INDENT and not text[line : opening.start()].strip()


def _last_part(text: str, preceding: int = 0) -> str | None:
    """The last part of a text where it stands alone, None where it may not; else the text.

    Parts are paragraphs, else lines, else the sentences of a long text, of which `preceding`
    characters are cut already.
    """
    before, part = _split(text, max(_MIN_BEFORE - preceding, 0))
    asks = part.endswith(("?", "\uff1f")) and _BEGINS.match(part)
    is_request = asks or _REQUEST.match(part)
    if not before or not is_request or len(part) > _MAX_SEPARATE or _LIST_ITEM.match(part):
        return text
    is_one_paragraph = "\n" not in text
    doubtful = text if is_one_paragraph and len(before) <= _MAX_SEPARATE else None
    if _TECHNICAL.search(before):
        return text if _TECHNICAL.search(part) else doubtful
    if _BACKWARD.search(part) or _shares_words(before, part):
        return doubtful
    needs_numbers = _QUANTITY.search(part) and len(_NUMBER.findall(part)) < 2
    if needs_numbers and _NUMBER.search(before):
        return doubtful
    return part if is_one_paragraph else _last_part(part, len(before))


def _split(text: str, min_before: int) -> tuple[str, str]:
    """What precedes the last part, and that part; nothing precedes where there is one part."""
    if "\n\n" in text:
        before, _, part = text.rpartition("\n\n")
    elif "\n" in text:
        before, _, part = text.rpartition("\n")
    else:
        ends = [end.end() for end in _SENTENCE_END.finditer(text, min_before)]
        before, part = (text[: ends[-1]], text[ends[-1] :]) if ends else ("", text)
    return before.strip(), part.strip()


def _shares_words(before: str, part: str) -> bool:
    """Whether a content word of the part is in the text before it, and so may refer to it."""
    words = {word.casefold() for word in _CONTENT_WORD.findall(part)} - FUNCTION_WORDS
    return any(word.casefold() in words for word in _CONTENT_WORD.findall(before))
