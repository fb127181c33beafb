"""Units of measurement, words for large numbers, and letters that are symbols and not units."""

import re
from fractions import Fraction

MULTIPLIERS = {
    "hundred": 100,
    "dozen": 12,
    "k": 1_000,
    **dict.fromkeys(("thousand", "tausend", "mille", "mil", "千"), 1_000),
    **dict.fromkeys(("lakh", "lakhs", "lac"), 100_000),
    **dict.fromkeys(
        ("million", "millions", "mio.", "mio", "millionen", "millones", "millón", "milhões"), 10**6
    ),
    **dict.fromkeys(("crore", "crores"), 10**7),
    **dict.fromkeys(
        ("billion", "billions", "bn", "milliarde", "milliarden", "mrd.", "mrd", "milliards"), 10**9
    ),
    **dict.fromkeys(("trillion", "trillions"), 10**12),
    "万": 10_000,
    "亿": 10**8,
}
"""Factors by the word behind a number, in lower case."""

MONTHS = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    "|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
"""A pattern of the months' names, beside which a number is a day."""

SYMBOLS = frozenset("abcdefinopqrtuvwxyzBDEGHIMNOPQRSTUXYZπθ")
"""Letters that, directly behind a number, multiply it: 2x, 3i, 2π."""

CURRENCIES = frozenset({"usd", "eur", "gbp", "cent", "jpy", "cny", "inr", "chf"})

CLOCK = frozenset({"am", "pm", "o'clock"})

GRAMMAR = frozenset(
    re.findall(
        r"\w+",
        """
        a about above according after again ago all along also altogether among an and annually
        answer approximately are around as at away back be because before below between both but
        by combined daily does due during each either else even every exactly extra finally for
        from further given has have he hence her his hourly however if in into is it its just
        left less longer many monthly more most much must my new no nor not now of off old on
        once only or other our out over overall per plus precisely rather remain remaining
        remains respectively result roughly same she should simply since so sum than that the
        their them then there therefore they this those through thus till to today together
        tomorrow too total under until up upon was we weekly were when where which while will
        with within would yearly yesterday you your
        """,
    )
)
"""Words that name nothing: they end the name of what a number counts."""

GENERAL = frozenset(["people", "person", "piece", "item", "unit", "thing", "object", "total"])
"""Nouns that may name anything that a question counts, without their plural's ending."""

_NAMES = {
    "m": "m metros mètres meter meters metre metres",
    "km": "km kilómetros kilomètres kilometer kilometers kilometre kilometres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "mm": "mm millimeter millimeters",
    "mi": "mile miles mi",
    "ft": "ft foot feet",
    "in": "inch inches",
    "yd": "yard yards yd",
    "g": "g gram grams",
    "kg": "kg kilogram kilograms kilo kilos",
    "mg": "mg milligram milligrams",
    "lb": "lb lbs pound pounds",
    "oz": "oz ounce ounces",
    "t": "ton tons tonne tonnes",
    "l": "l liter liters litre litres",
    "ml": "ml milliliter milliliters millilitres",
    "gal": "gallon gallons",
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes minuten minuto minutos",
    "h": "h hr hrs hour hours stunde stunden heure heures hora horas ora ore",
    "d": "day days tag tage tagen jour jours día días",
    "week": "week weeks",
    "month": "month months",
    "year": "year years",
    "usd": "$ dollar dollars usd US buck bucks",
    "cent": "cent cents ¢",
    "eur": "euro euros eur €",
    "gbp": "gbp £",
    "jpy": "jpy yen ¥ ￥",
    "cny": "cny yuan rmb 元",
    "inr": "inr rupee rupees Rs ₹",
    "chf": "chf franken francs franc",
    "deg": "° deg degree degrees",
    "rad": "rad radian radians",
    "j": "J joule joules",
    "w": "W watt watts",
    "n": "newton newtons",
    "v": "V volt volts",
    "a": "A amp amps ampere amperes",
    "hz": "hz hertz",
    "k": "K kelvin",
    "c": "°c celsius",
    "f": "°f F fahrenheit",
    "pa": "pa pascal",
    "m/s": "m/s",
    "km/h": "km/h kph",
    "mi/h": "mph",
    "m^2": "m^2 m2 sqm",
    "cm^2": "cm^2 cm2",
    "km^2": "km^2",
    "m^3": "m^3 m3",
    "cm^3": "cm^3 cm3 cc",
}
_SCALES = {
    "mm": ("m", Fraction(1, 1000)),
    "cm": ("m", Fraction(1, 100)),
    "m": ("m", Fraction(1)),
    "km": ("m", Fraction(1000)),
    "mg": ("g", Fraction(1, 1000)),
    "g": ("g", Fraction(1)),
    "kg": ("g", Fraction(1000)),
    "t": ("g", Fraction(10**6)),
    "ml": ("l", Fraction(1, 1000)),
    "l": ("l", Fraction(1)),
    "mm^2": ("m^2", Fraction(1, 10**6)),
    "cm^2": ("m^2", Fraction(1, 10**4)),
    "m^2": ("m^2", Fraction(1)),
    "km^2": ("m^2", Fraction(10**6)),
    "s": ("s", Fraction(1)),
    "min": ("s", Fraction(60)),
    "h": ("s", Fraction(3600)),
    "d": ("s", Fraction(86_400)),
    "week": ("s", Fraction(604_800)),
    "in": ("m", Fraction(254, 10_000)),
    "ft": ("m", Fraction(3048, 10_000)),
    "yd": ("m", Fraction(9144, 10_000)),
    "mi": ("m", Fraction(1_609_344, 1000)),
    "lb": ("g", Fraction(45_359_237, 100_000)),
    "oz": ("g", Fraction(45_359_237, 1_600_000)),
    "gal": ("l", Fraction(3_785_411_784, 10**9)),
    "cent": ("usd", Fraction(1, 100)),
    "usd": ("usd", Fraction(1)),
    "m/s": ("m/s", Fraction(1)),
    "km/h": ("m/s", Fraction(5, 18)),
}
"""What a unit measures, and how much of it."""

_BY_SPELLING = {spelling: name for name, words in _NAMES.items() for spelling in words.split()}


def unit_name(spelling: str) -> str | None:
    """The name that all spellings of a unit share; None where the word is no known unit."""
    return _BY_SPELLING.get(spelling) or (
        _BY_SPELLING.get(spelling.casefold()) if len(spelling) > 1 else None
    )


def dimension(unit: str) -> str:
    """The base unit of what a unit measures; currencies are one kind."""
    if unit in CURRENCIES or unit in {"month", "year"}:
        return "usd" if unit in CURRENCIES else "s"
    return _SCALES.get(unit, (unit, Fraction(1)))[0]


def scale(unit: str | None, other: str | None) -> Fraction:
    """How much of another unit a unit is: 60 for h and min; 0 for units of other kinds."""
    if unit == other or not unit or not other:
        return Fraction(1)
    (kind, size), (other_kind, other_size) = (
        _SCALES.get(u, (u, Fraction(1))) for u in (unit, other)
    )
    return size / other_size if kind == other_kind else Fraction(0)


_COMPOUND = re.compile(
    r"(?<![\d.,/:])(\d+)\s?([a-z]{1,7}|')(?:\s?,?\s(?:and\s)?"
    r"|(?<='))(\d+(?:\.\d+)?)\s?([a-z]{1,7}|\")"
    r"(?![\w^/])(?!\s(?:per|an?|each)\b)",
    re.IGNORECASE,
)
_POWER = re.compile(
    r"(?<=\d)\s?(?P<power>square|sq\.?|cubic|cu\.?)\s(?P<unit>[a-z]+)\b", re.IGNORECASE
)
_FORMED = re.compile(r"\(\w+\)|\d and \d|1 in \d|(?:,| of) [12]\d{3}")
_FORMS = (
    (re.compile(r"(?<=\d)\s?\(([^\W\d_]{1,10})\)(?=\W*$)"), r" \1"),
    (re.compile(r"(?<![\d.,/])(\d+) and (?=\d+/\d+\b)"), r"\1 "),
    (re.compile(r"(?<![\d.,/])1 in (\d+)(?=\W*$|\s(?:chance|odds)\b)"), r"1/\1"),
    (
        re.compile(rf"\b(?:on )?{MONTHS}(?: \d{{1,2}}(?:st|nd|rd|th)?,| of) (?=[12]\d{{3}}\W*$)"),
        "in ",
    ),
)
_MARKS = {"'": "ft", '"': "in"}


def in_one_unit(text: str) -> str:
    """A text with "2 hours 30 minutes" as 150 min, 5'6" as 66 in, and square cm as cm^2.

    A unit in parentheses is one, "1 and 1/2" is 1 1/2, "1 in 4" is 1/4, and a date is its year.
    """
    text = _POWER.sub(_as_power, text)
    if _FORMED.search(text):
        for pattern, written in _FORMS:
            text = pattern.sub(written, text)
    return _COMPOUND.sub(_joined, text)


def _as_power(match: re.Match[str]) -> str:
    name = unit_name(match["unit"])
    return f" {name}^{2 if match['power'].startswith('s') else 3}" if name else match[0]


def _joined(match: re.Match[str]) -> str:
    large, small = (_MARKS.get(name) or unit_name(name) for name in (match[2], match[4]))
    factor = scale(large, small) if large and small else Fraction(0)
    if factor <= 1 or Fraction(match[3]) >= factor:
        return match[0]
    return f"{float(int(match[1]) * factor + Fraction(match[3])):g} {small}"
