"""The words between which a number is an answer.

Every word of the number's clause must be understood: a word of grammar that relates the number to
nothing else, a word of any answer ("total", "altogether"), or one of the question's own. A word
that relates it, such as "more", "each" or "left", must be in the sentence that asks. Where no
question is known, nouns, verbs and names may be any.
"""

import re

from router.answers.question import Question, stem
from router.answers.spelled import is_number_word
from router.answers.units import GRAMMAR, MONTHS, unit_name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GRAMMAR = _words(
    """
    a about after all back single there're she'll also altogether am an and any approximately are
    around as at away be because been being both by can could did do does during everyone exactly
    finally for from given had has have having he hence her here him his i in inside into is it
    its just let many me must my now
    of on one ones only or other our out overall per possible precisely probably roughly same she
    should since so some still such that the their them then there therefore these they this those
    through throughout thus to today together total two up us was we were what when where which
    while who whole whose will with within would you your
    """
)
"""Words that a clause with an answer may have."""

_RELATING = _words(
    """
    above according against ago ahead almost already although among another anyone anything apart
    approaches aren't aside barely before behind below beneath beside besides between beyond
    bigger bound but can't cannot cheaper closer colder contradiction could couldn't cubed deeper
    despite didn't digits divisor doesn't don't double due each earlier either else enough
    error even every everything except excluding extraneous fails farther faster few fewer friend
    further greater guess hadn't half hardly hasn't haven't heavier hers higher hotter how however
    if impossible including incorrect instead invalid isn't larger later less lighter likely like
    longer lower may maybe merely might mille mine minus multiple multiplied near
    nearer nearly neither never no nobody none nor not nothing off often older once opposite
    otherwise ought over past perhaps plus possibly presumably provided quicker rather respectively
    scarcely several shall short shorter shouldn't similar slightly slower smaller someone something
    somewhat somewhere soon sooner squared supposed supposing taller tends than thicker thinner
    though till too toward towards triple twice under unless unlike unlikely until upon versus
    warmer wasn't weren't whatever whereas whether why wider without won't wouldn't wrong wrongly
    incorrectly mistakenly yet younger
    close exceed exceeds exceeding divisible reject rejected excluded eliminated root ruled typo
    within first
    als fast größer höchstens kleiner mehr mindestens nicht unter weniger zwischen über kein
    entre moins pas presque moitié double
    casi como mayor menor menos más máximo mínimo mitad doble
    più meno non almeno quasi metà mais não quase pelo metade niet minder meer dan
    не больше меньше более менее почти или от до
    """
)
"""Words that relate a number to another one, deny it, or doubt it."""

_NOT_BEFORE = _words("across again every not always down far first last next outside top via")
_NOT_BEHIND = _words(
    "or more most much should would had me probably two times x base choose factorial mod"
)
"""Words that do so only before a number, or only behind it."""

_GENERAL = _words(
    """
    amount answer average chance earnings combined cost costs dollar dollars equal
    equals final money need needs number percent percentage product
    quotient remain remaining remains required result results sum time total totaling totals value
    add adding calculate divide dividing find multiply multiplying subtract subtracting get gets
    getting gives giving got leave leaves leaving left make makes making means obtain reach
    yield yields found takes took come comes came end ends become becomes know see works out
    hold holds contain contains pay pays paid spend spends spent receive receives received earn
    earns earned use uses used people person piece pieces item items actually clearly simply indeed
    correct exact increase increased decrease decreased rise rose fell drop dropped divided
    consists place happened gives maximum minimum maximal minimal largest smallest greatest least
    """
)
"""Words of answers to any question."""

_QUANTITIES = _words(
    """
    age area distance height length loss mean median perimeter price probability
    profit ratio revenue volume weight width worth pay pays paid spend spends spent earn earns
    earned receive receives received
    """
)
"""Words that name what is asked for, where the question itself names none of them."""

_QUANTITY_STEMS = frozenset(map(stem, _QUANTITIES))

_FOREIGN = _words(
    """
    der die das den dem ein eine einen es er sie ist sind hat haben beträgt ergibt also insgesamt
    zusammen daher somit antwort ergebnis lösung lautet genau etwa ungefähr rund gibt und euro für
    von im in zu kostet macht bekommt
    le la les un une des du de il elle ils elles est sont ont y donc ainsi total au réponse résultat
    exactement environ font coûte et en reste
    el los las una del se es son hay tiene tienen por lo tanto respuesta resultado exactamente unos
    aproximadamente cuesta total entonces así que quedan
    lo gli ha hanno ci sono è quindi risposta risultato totale costa i dei delle
    o os as tem há são portanto resposta resultado logo custa um uma no na
    het een heeft zijn antwoord dus totaal
    у есть ответ равно итого всего значит в и
    """
)
"""Words of answers to any question in other languages."""

_CHARACTERS = frozenset(
    "所以一共有总计答案是为的了因此故等于即得个元只本人我们它他她这就合在最终结果正确にはがはのですがでます答えを合計全部で円入り"
)

_BASES = dict(
    pair.split("/")
    for pair in _words(
        """
        ate/eat bought/buy built/build caught/catch cut/cut drank/drink drove/drive dug/dig fed/feed
        fell/fall felt/feel flew/fly grew/grow held/hold kept/keep lost/lose met/meet ran/run
        read/read rode/ride sang/sing sat/sit saw/see sent/send slept/sleep sold/sell swam/swim
        taught/teach threw/throw told/tell went/go won/win wore/wear wrote/write made/make
        """
    )
)
_PRONE = _words("but except if impossible incorrect minus or plus unless without wrong not")
"""Words that leave open, or change, what an equation equals."""

_ASKABLE = re.compile(
    r"more|less|fewer|than|over|under|above|below|each|every|short|ago|late|early|first|last|next"
    r"|past|not|[a-z]+er"
)
"""Relating words that the question may ask for."""

_CIRCUMSTANCE = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun|yester)day|tomorrow|tonight|mornings?|afternoons?"
    r"|evenings?|nights?|second|third|fourth|fifth|alone"
    r"|january|february|march|april|june|july|august|september|october|november|december"
)
"""Words that narrow down what a number counts, so that the question must ask for them."""

_UNLESS_ASKED = _words("each every not")
"""Words that matter where a question is known: behind a noun, "not" tells what was counted."""

_REST = frozenset({"left", "remain", "remains", "remaining"})
_ASKS_REST = frozenset(
    map(stem, ("left", "remain", "still", "now", "rest", "end", "have", "after"))
)

_ASIDE = re.compile(
    r"\bleft over\b|\bif (?:you|we) add\b|\bno (?:doubt|longer)\b|\band no\b|\bnothing else\b"
    r"|\b(?:who|that) [a-z]+'t\b"
    r"|\bover the (?=(?:\w+ )?(?:\w+ )?(?:year|month|week|day|hour|period|course)s?\b)"
)
"""Phrases whose words relate nothing."""

_WORD = re.compile(r"[^\W\d_]+(?:'(?:t|re|ll|ve|d))?")
_HEAD = re.compile(r"[^.;:,\n=\d()]*\Z")
_TAIL = re.compile(r"\)?[^.;:,\n=\d()]*")
_RATE = re.compile(
    r"\b(?:per|each|every|an?(?= (?:second|minute|hour|day|week|month|year)\b)) ([a-z]+)", re.I
)
_FILLERS = _words(
    """
    about approximately approx around roughly exactly precisely just simply only equal equals to is
    are was be a an the total sum of therefore thus hence so then it she he they we has have had now
    also indeed actually obviously clearly numerically value number answer option etwa ungefähr
    genau ca environ exactement aproximadamente unos est es ist sind sont son
    """
)
_SIGNS_ONLY = re.compile(r"[\s\w(\[{\"'«»,:=≈~→.]*")
_COUNTED_NOUNS = _words(
    """
    step part question problem case figure fig table equation eq example section line item method
    phase chapter ch page p pp statement no option schritt étape paso at by
    """
)
"""Words whose number names something: step 3, Room 3."""

_LEADS = _FILLERS | _words(
    "make give get leave need pay cost earn spend receive remain or and de à da di von"
)
"""Words in front of a number that is put forward, besides words of grammar."""

_LAST_WORD = re.compile(r"(?P<before>^|.*[^\w'])(?P<word>[^\W\d_]+)\.?$", re.DOTALL)
_RATE_ADVERB = re.compile(r"(hour|week|month|year|dai)ly")
_SHARED = re.compile(r"\A\s?of (?:the|all|all the) [a-z]+\b(?! of\b)", re.IGNORECASE)
"""Behind a percentage, what it is a share of."""

_LONGEST_CLAUSE = 200


def is_plain_answer(
    text: str, start: int, end: int, question: Question, computed: bool = False
) -> bool:
    """Whether the words around a number in its clause, from `start` to `end`, leave it an answer.

    What an equation equals, `computed`, may be compared with anything: = 5 years older than Bob.
    """
    head = _HEAD.search(text[max(0, start - _LONGEST_CLAUSE) : start])
    tail = _TAIL.match(text, end, end + _LONGEST_CLAUSE)
    text_behind = tail[0] if tail else ""
    if question.asks_percent and re.search(r"(?:%|percent)\Z", text[start:end]):
        text_behind = _SHARED.sub("", text_behind)
    if question.is_english and not computed:
        rates = [stem(match[1]) for match in _RATE.finditer(text_behind)]
        if not question.asks_rates >= set(rates):
            return False
        text_behind = _RATE.sub(" ", text_behind)
    before, behind = words(head[0] if head else ""), words(text_behind)
    if computed:
        return _PRONE.isdisjoint(before + behind)
    if {"need", "needs", "must"} & set(before) and not question.text and "than" not in behind:
        behind = [word for word in behind if word != "more"]  # which may have been asked for
    if (
        question.is_english
        and not question.asks_when
        and not _narrows_as_asked(before + behind, question)
    ):
        return False
    return all(_is_understood(word, _NOT_BEFORE, question) for word in before) and all(
        _is_understood(word, _NOT_BEHIND, question) for word in behind
    )


def _narrows_as_asked(clause_words: list[str], question: Question) -> bool:
    """Whether days, months and the like in a clause are all of those in the question."""
    named = set(filter(_CIRCUMSTANCE.fullmatch, clause_words))
    required = set(filter(_CIRCUMSTANCE.fullmatch, words(question.asking_text)))
    required = required or set(filter(_CIRCUMSTANCE.fullmatch, words(question.text)))
    return not named or (bool(required) and named >= required)


def words(clause: str) -> list[str]:
    return _WORD.findall(_ASIDE.sub(" ", clause.replace("May", " ").casefold()))


def _is_understood(word: str, excluded: frozenset[str], question: Question) -> bool:
    if word in _RELATING or word in excluded:
        is_harmless = word in _UNLESS_ASKED and word not in excluded and not question.text
        is_asked = _ASKABLE.fullmatch(word) is not None and stem(word) in question.asking
        return is_harmless or is_asked
    if not question.text or word in _GRAMMAR | _FOREIGN or len(word) < 2:
        return True
    if adverb := _RATE_ADVERB.fullmatch(word):
        return not question.asks_rates.isdisjoint({adverb[1], "day"})
    if word in _REST and _ASKS_REST.isdisjoint(question.asking):
        return False
    return _CIRCUMSTANCE.fullmatch(word) is not None or is_known(word, question)


def is_filler(text: str) -> bool:
    """Whether a text in front of a number says nothing besides "it is about"."""
    spoken = _WORD.findall(text.casefold())
    is_plain = all(word in _FILLERS or len(word) == 1 for word in spoken)
    return is_plain and _SIGNS_ONLY.fullmatch(text) is not None


def is_label(before: str) -> bool:
    """Whether the words before a number make it a step's, a figure's or a day's: Room 3."""
    match = _LAST_WORD.match(before)
    if match is None:
        return before.endswith("#")
    word, opens = match["word"], not re.search(r"\w", match["before"])
    if re.search(rf"\b{MONTHS}$|\b[a-z]+[A-Z]+$", before):
        return True
    if word.casefold() in _COUNTED_NOUNS:
        return opens or word.casefold() not in {"at", "by"}
    if re.search(
        r"(?:train|bus|flight|room|house|phone|page|item|line|model|player) number$", before, re.I
    ):
        return True
    if word.casefold() in _LEADS | GRAMMAR or not word.isascii():
        return False
    is_place = re.search(r"\b(?:on|in|at|from|see|of)\s$", match["before"], re.IGNORECASE)
    return bool(is_place) or (opens and (word[0].isupper() or not word.endswith(("s", "ly"))))


def is_known(word: str, question: Question) -> bool:
    """Whether a word is one of any answer's or one of the question's."""
    if not question.is_english and word[0] > "\u2e7f":  # of a script without spaces
        return {*word} <= {*question.text} | _CHARACTERS
    if word in _GENERAL or unit_name(word) or is_number_word(word):
        return True
    if word in _QUANTITIES and _QUANTITY_STEMS.isdisjoint(question.asking):
        return True
    return not question.stems.isdisjoint(_base_forms(word))


def _base_forms(verb: str) -> set[str]:
    bases = {verb, _BASES.get(verb, verb), re.sub(r"(?:ed|ing|ly)$", "", verb)}
    bases |= {re.sub(r"(.)\1$", r"\1", base) for base in bases}
    return {stem(base) for base in bases}
