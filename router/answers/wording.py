"""The words between which a number is an answer.

Nouns, verbs and names around a number may be any. Of the words of grammar only those below may
stand in its clause: others, such as "than", "unless" or "almost", relate it to what is the answer
instead. A question's own words may relate its answer: "how many more", "how much longer".
"""

import re

from router.answers.question import Question, stem


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BEFORE = _words(
    """
    a about after all also altogether am an and approximately are around at be because been
    being both by can did do does each everyone exactly finally for from given had has have
    having he hence her here him his i in into is it its just let many me more most much must my
    now of on one ones only or others our out overall per possible precisely probably roughly
    same she should so some still such than that the their them then there therefore these they
    this those through thus to together total two up us was we were what when which while who
    whole will with would you your
    """
)
_BEHIND = _words(
    """
    a about across after again all along also altogether always an and another any are around as
    at away be because been being both by can cannot did do does doubt down during each even
    every everyone exactly far finally for from given has have having he hence her here him his
    i in inside into is it its just like long many me must my not now of on one ones only or
    other our out outside overall own per possible precisely respectively same she since so some
    still such that the their them then there therefore these they this those through throughout
    thus to together total two up us via was we were what when where which while who whole whose
    will with within yet you your
    """
)
_NOWHERE = _words(
    """
    above according against ago ahead almost already although among anyone anything apart
    approaches aren't aside barely before behind below beneath beside besides between beyond
    bigger bound but can't cheaper closer colder contradiction could couldn't deeper despite
    didn't divisor doesn't don't double due earlier either else enough error everything except
    excluding extraneous fails farther faster few fewer friend further greater guess hadn't half
    hardly hasn't haven't heavier hers higher hotter how however if impossible including
    incorrect instead invalid isn't larger later less lighter likely longer lower may maybe
    merely might mille mine minus multiple near nearer nearly neither never no nobody none nor
    nothing off often older once opposite otherwise ought over perhaps plus possibly presumably
    provided quicker rather scarcely several shall short shorter shouldn't similar slightly
    slower smaller someone something somewhat somewhere soon sooner supposed supposing taller
    tends thicker thinner though till too toward towards triple twice under unless unlike
    unlikely until upon versus warmer wasn't weren't whatever whereas whether why wider without
    won't wouldn't wrong younger
    """
)
_GRAMMAR = _BEFORE | _BEHIND | _NOWHERE
_NOT_BEFORE = _GRAMMAR - _BEFORE
_NOT_BEHIND = _GRAMMAR - _BEHIND
"""Words of grammar, and a few nouns and verbs that make a number another one than the answer."""

_VERBS = _words(
    """
    amount amounts answer are average be becomes brings came come comes contain contains cost
    costs earn earned earns end ended ends equal equaling equals find finds gave get gets give
    gives giving got had has have hold holds is leave leaves leaving left made make makes making
    obtain obtained paid pay pays reach reaches receive received receives remain remains result
    results spend spends spent take takes took total totaling totals use used uses was weighs
    were yield yields
    """
)
"""Verbs of answers to any question; others must be its own."""

_BASES = dict(
    pair.split("/")
    for pair in _words(
        """
        ate/eat bought/buy built/build caught/catch cut/cut drank/drink drove/drive dug/dig fed/feed
        fell/fall felt/feel flew/fly grew/grow held/hold kept/keep lost/lose met/meet ran/run
        read/read rode/ride sang/sing sat/sit saw/see sent/send slept/sleep sold/sell swam/swim
        taught/teach threw/throw told/tell went/go won/win wore/wear wrote/write
        """
    )
)
_OPEN = _words("but except if impossible incorrect minus or plus unless without wrong")
"""Words that leave open, or change, what an equation equals."""

_RELATIVE = re.compile(
    r"more|less|fewer|than|over|under|above|below|each|every|short|ago|late|early|[a-z]+er"
)
"""Words that a question may ask for."""

_PLAIN = re.compile(
    r"\bleft over\b|\bif (?:you|we) add\b|\bno (?:doubt|longer)\b|\band no\b|\bnothing else\b"
    r"|\b(?:who|that) [a-z]+'t\b"
    r"|\bover the (?=(?:\w+ )?(?:\w+ )?(?:year|month|week|day|hour|period|course)s?\b)"
)
"""Phrases whose words relate nothing."""

_NEEDS = re.compile(r"\b(?:needs?|must)\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+(?:'t)?")
_HEAD = re.compile(r"[^.;:,\n=\d()]*\Z")
_TAIL = re.compile(r"[^.;:,\n=\d()]*")
_LONGEST_CLAUSE = 200


def is_plain_answer(
    text: str, start: int, end: int, question: Question, computed: bool = False
) -> bool:
    """Whether the words around a number in its clause, from `start` to `end`, leave it an answer.

    What an equation equals, `computed`, may be compared with anything: = 5 years older than Bob.
    """
    is_needed = _NEEDS.search(text, max(0, start - _LONGEST_CLAUSE), start) is not None
    head = _HEAD.search(text[max(0, start - _LONGEST_CLAUSE) : start])
    if head and not computed and not _is_asked(head[0], question):
        return False
    tail = _TAIL.match(text, end, end + _LONGEST_CLAUSE)
    return _are_plain(head, _BEFORE, question) and (
        _are_plain(tail, _BEHIND, question, computed, is_needed)
    )


def _are_plain(
    match: re.Match[str] | None,
    permitted: frozenset[str],
    question: Question,
    computed: bool = False,
    is_needed: bool = False,
) -> bool:
    if match is None:
        return True
    words = _WORD.findall(match[0].replace("May", " ").casefold())
    foreign = _NOT_BEFORE if permitted is _BEFORE else _NOT_BEHIND
    if not foreign.isdisjoint(words):
        words = _WORD.findall(_PLAIN.sub(" ", match[0].replace("May", " ").casefold()))
    relating = foreign.intersection(words)
    if permitted is _BEFORE and question.asks_how:
        relating |= {"each", "every"}.intersection(words)
    if is_needed and not question.text and "than" not in words:
        relating -= {"more"}  # which may have been asked for
    if computed:
        return not relating & _OPEN
    return all(_RELATIVE.fullmatch(word) and stem(word) in question.asking for word in relating)


def _is_asked(head: str, question: Question) -> bool:
    """Whether the verb before a number is one of any answer's, or one of the question's."""
    words = re.findall(r"[^\W\d_]+", head)
    if (
        not words
        or not question.asks_how
        or not words[-1].isascii()
        or words[-1][0].isupper()
        or len(words[-1]) < 3
    ):
        return True
    word = words[-1].casefold()
    known = word in _VERBS or word in _BEFORE
    return known or not question.stems.isdisjoint(_base_forms(word))


def _base_forms(verb: str) -> set[str]:
    bases = {verb, _BASES.get(verb, verb), re.sub(r"(?:ed|ing)$", "", verb)}
    bases |= {re.sub(r"(.)\1$", r"\1", base) for base in bases}
    return {stem(base) for base in bases}
