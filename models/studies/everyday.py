"""Prompts that no log of outcomes has: greetings, which are easy, and proofs, which are not.

Their ease is assumed, as that of other everyday prompts is (`models.studies.portable`).
"""

from collections.abc import Iterator
from itertools import product

_OPENINGS = (
    "Hi", "Hello", "Hey", "Hi there", "Hello there", "Hey there", "Good morning", "Good afternoon",
    "Good evening", "Greetings", "Howdy", "Hiya", "Welcome",
)  # fmt: skip
_SMALL_TALK = (
    "", "how are you?", "how are you doing today?", "what's up?", "nice to meet you.",
    "how is your day going?", "can you help me?", "I hope you are well.", "are you there?",
    "what can you do for me?", "who are you?", "it is good to see you again.",
)  # fmt: skip
_CLOSINGS = (
    "Thanks", "Thank you", "Thanks a lot", "Thank you very much", "Thank you for your help",
    "You are great", "Have a nice day", "Have a good night", "Goodbye",
    "Bye", "See you tomorrow", "Cheers", "Please tell me a joke", "How are you",
    "What is your name", "Who are you", "Can you help me", "Tell me about yourself",
    "How old are you", "Yes please",
    "What is the weather like today", "What can you do",
)  # fmt: skip
_PROOFS = (
    "Prove that", "Show that", "Prove rigorously that", "Give a proof that", "Can you prove that",
    "Give a rigorous proof that", "Please prove that", "Demonstrate that", "Write a proof that",
    "Prove or disprove that", "Prove by contradiction that", "Prove by induction that",
    "Explain why, with a proof,",
)  # fmt: skip
_STATEMENTS = (
    "the square root of 3 is irrational", "there are infinitely many primes",
    "there are infinitely many primes of the form 4k + 3", "e is irrational",
    "every bounded sequence of real numbers has a convergent subsequence",
    "the sum of the first n odd numbers is n^2", "n^3 - n is divisible by 6 for every integer n",
    "every group of prime order is cyclic", "the real numbers are uncountable",
    "the harmonic series diverges", "every finite integral domain is a field",
    "a continuous function on a closed interval attains its maximum",
    "the product of two compact spaces is compact", "every tree with n vertices has n - 1 edges",
    "the angles of a triangle add up to 180 degrees",
    "for all positive real numbers a and b, (a + b)/2 is at least the square root of ab",
    "the halting problem is undecidable", "every planar graph can be coloured with five colours",
    "a^p - a is divisible by p for every prime p", "the set of rational numbers is countable",
    "the sum of two continuous functions is continuous", "every subgroup of Z is cyclic",
    "the determinant of a product is the product of the determinants",
    "the equation x^2 - 2y^2 = 1 has infinitely many integer solutions",
    "the diagonals of a parallelogram bisect each other", "log_2(3) is irrational",
    "every even perfect number is of the form 2^(p-1)(2^p - 1)",
    "among six people there are three who know each other or three who are strangers",
    "no polynomial with integer coefficients takes only prime values",
    "the limit of (1 + 1/n)^n exists", "a graph is bipartite if and only if it has no odd cycle",
    "the medians of a triangle meet at a point", "comparison sorting needs n log n comparisons",
    "the maximum flow equals the minimum cut", "matrix multiplication is associative",
)  # fmt: skip
_THEOREMS = (
    "the Pythagorean theorem", "Fermat's little theorem", "the fundamental theorem of algebra",
    "the intermediate value theorem", "the mean value theorem", "Lagrange's theorem",
    "the Cauchy-Schwarz inequality", "the central limit theorem", "Bolzano-Weierstrass",
    "the Chinese remainder theorem", "the binomial theorem", "Euler's formula", "Wilson's theorem",
    "the prime number theorem", "the triangle inequality", "Bayes' theorem", "Cantor's theorem",
)  # fmt: skip


def greetings() -> Iterator[str]:
    """Greetings, small talk and thanks."""
    for opening, talk in product(_OPENINGS, _SMALL_TALK):
        yield from (f"{opening}, {talk}", f"{opening}! {talk[:1].upper()}{talk[1:]}") if talk else (
            opening, f"{opening}!", f"{opening}.",
        )  # fmt: skip
    for closing in _CLOSINGS:
        yield from (closing, f"{closing}!", f"{closing}.", f"{closing.lower()}")


def proofs() -> Iterator[str]:
    """Requests for mathematical proofs."""
    for beginning, statement in product(_PROOFS, _STATEMENTS):
        yield f"{beginning} {statement}."
    for verb, theorem in product(
        ("Prove", "Derive", "Give a full proof of", "Proof of"), _THEOREMS
    ):
        yield f"{verb} {theorem}."
