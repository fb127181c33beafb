"""The words between which a number is an answer.

Nouns, verbs and names around a number may be any. Of the words of grammar only those below may stand
in its clause: others, such as "than", "unless" or "almost", relate it to what is the answer instead.
A question's own words may relate its answer: "how many more", "how much longer".
"""

import re

from router.answers.question import Question, stem

_GRAMMAR = frozenset(
    """
    a about above according across after again against ago ahead all almost along already also
    although altogether always am among an and another any anyone anything apart approximately
    are around as aside at away barely be because been before behind being below beneath beside
    besides between beyond both but by can cannot could despite did do does doubt down due during
    each either else enough even every everyone everything exactly except excluding far few fewer
    finally for from given guess had half hardly has have having he hence her here hers him his how
    however i if impossible in including incorrect inside instead into is it its just less let
    like likely long many may maybe me merely might mine minus more most much must my near nearly
    neither never no nobody none nor not nothing now of off often on once one ones only opposite
    or other others otherwise ought our out outside over overall own per perhaps plus possible
    possibly precisely presumably probably provided rather respectively roughly same scarcely
    several shall she short should similar since slightly so some someone something somewhat
    somewhere soon still such supposed supposing than that the their them then there therefore
    these they this those though through throughout thus till to together too total toward towards
    triple twice double two under unless unlike unlikely until up upon us versus via was we were
    what whatever when where whereas whether which while who whole whose why will with within
    without would wrong yet you your isn't aren't wasn't weren't don't doesn't didn't can't
    couldn't wouldn't won't shouldn't hasn't haven't hadn't cheaper closer colder deeper earlier
    farther faster further greater heavier higher hotter larger later lighter longer lower nearer
    older quicker shorter slower smaller sooner taller thicker thinner warmer wider younger bigger
    """.split()
)
_BEFORE = frozenset(
    """
    a about after all also altogether am an and approximately are around at be because been being both by
    can did do does each exactly finally for from given had has have having he hence her here him his
    i in into is it its just let many me more most much must my now of on one ones only or our out overall
    precisely probably roughly she should so still such than that the their them then there
    therefore these they this those through thus to together total two up us was we were what
    when which while who will with would you your possible whole same some per everyone everybody
    others
    """.split()
)
_BEHIND = frozenset(
    """
    a about across after again all along also altogether always an and another any are around as at
    away be because been being both by can cannot do does did down during each even every everyone exactly
    far finally for from given has have having he hence her here him his i in inside into is it its
    just like long many me must my not now of on one ones only or other our out outside overall own
    per possible precisely respectively same she since so some still such that the their them
    then there therefore these they this those through throughout thus to together total two up us via
    was we were what when where which while who whole whose will with within yet you your doubt
    """.split()
)
_VERBS = frozenset(
    """
    amount amounts answer average be becomes brings came come comes contain contains cost costs
    earn earned earns end ended ends equal equaling equals find finds gave get gets give gives giving got had has have
    hold holds is are was were leave leaves leaving left made make makes making obtain obtained
    paid pay pays reach reaches receive received receives remain remains result results spend
    spends spent take takes took total totaling totals use used uses weighs yield yields
    """.split()
)
"""Verbs of answers to any question; others must be its own."""

_PAST = dict(
    pair.split("/")
    for pair in """
    ate/eat bought/buy built/build caught/catch cut/cut drank/drink drove/drive dug/dig fed/feed fell/fall
    felt/feel flew/fly grew/grow held/hold kept/keep lost/lose met/meet ran/run read/read rode/ride
    sang/sing sat/sit saw/see sent/send slept/sleep sold/sell swam/swim taught/teach threw/throw
    told/tell went/go won/win wore/wear wrote/write
    """.split()
)

_OPEN = frozenset("if unless without minus plus but or except wrong incorrect impossible".split())
"""Words that leave open, or change, what an equation equals."""

_RELATIVE = re.compile(r"more|less|fewer|than|over|under|above|below|short|ago|late|early|[a-z]+er")
"""Words that a question may ask for."""

_PLAIN = re.compile(
    r"\bleft over\b|\bif (?:you|we) add\b|\bno (?:doubt|longer)\b|\bover the (?=(?:\w+ )?(?:\w+ )?(?:year|month|week|day|hour|period"
    r"|course)s?\b)|\band no\b|\bnothing else\b|\b(?:who|that) [a-z]+'t\b"
)
"""Phrases whose words relate nothing."""

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
    head = _HEAD.search(text[max(0, start - _LONGEST_CLAUSE) : start])
    if head and not computed and not _is_asked(head[0], question):
        return False
    tail = _TAIL.match(text, end, end + _LONGEST_CLAUSE)
    return _are_plain(head, _BEFORE, question) and (_are_plain(tail, _BEHIND, question, computed))


def _are_plain(
    match: re.Match[str] | None,
    permitted: frozenset[str],
    question: Question,
    computed: bool = False,
) -> bool:
    if match is None:
        return True
    words = _WORD.findall(_PLAIN.sub(" ", match[0].replace("May", " ").casefold()))
    relating = (_GRAMMAR - permitted).intersection(words)
    if not question.text and "than" not in words:
        relating -= {"more"}  # which may have been asked for
    if computed:
        return not relating & _OPEN
    return all(_RELATIVE.fullmatch(word) and stem(word) in question.stems for word in relating)


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
    bases = {verb, _PAST.get(verb, verb), re.sub(r"(?:ed|ing)$", "", verb)}
    bases |= {re.sub(r"(.)\1$", r"\1", base) for base in bases}
    return {stem(base) for base in bases}
