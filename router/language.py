"""Whether a text is English, the only language that the portable router is fitted on.

By function words, which every sentence has: those of English against those of other languages.
"""

import re

from router.features import window
from router.keywords import ENGLISH as KEYWORDS

_MATHS = re.compile(r"\$[^$]{0,2000}\$|\\[A-Za-z]+|```.{0,6000}?(?:```|\Z)", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2,}")
_MIN_SHARE = 0.08
"""English prompts have a larger share of these words; other languages may hit some by chance."""
_MAX_FOREIGN_SHARE = 0.25
"""Of words with letters beyond ASCII, as in names."""

_FUNCTION = """
the of and to that with this these those it its you your what how why when where which who whom
whose are were been being have has had does did can could would should shall may might must if then
than from for not but about into they them their there he she his her we us our my be by many much
each any some every between because while after before please let good morning evening afternoon
"""
_REQUESTS = """
hi hello hey thanks bye goodbye night welcome howdy greetings cheers hiya yo yes thx compute
evaluate simplify determine express calculate prepare provide develop create design list
"""
_SHARED = """
code script prime area radio total option options question angle triangle sphere second third per
come so not all some no as in or an do on are he by for son find sell pays sum parallel program
script method class array string python java javascript sql html css rust api debug blog volume
probability variable produce product sentence message limit algorithm matrix root polynomial
logarithm integral coefficient random percent rate ratio double triple polygon tangent chord square
difference sequence combinations permutations subset contradiction induction lemma only must last
year both letter summary quarter story tell next name
"""
"""English words that other languages have too: they are no evidence."""

_FOREIGN = {
    "German": "der das den dem ein eine einen einer eines ist sind und nicht wie wer wo warum "
    "welche welcher von zu mit auf ich du er sie wir ihr es mir mich bitte kann kannst dass wenn "
    "oder alle hat hallo guten tag danke zwei drei beweise erkläre schreibe berechne nenne im zum "
    "zur aus bei",
    "Dutch": "het een van wat wie hoe hoeveel waarom zijn niet en ik je jij kun kan dat voor met "
    "op aan hallo dank",
    "Swedish, Danish, Norwegian": "vad vem hur varför är och det den som att på av en ett jag du "
    "kan skriv hvad hvem hvor hvordan er og af til ikke hej tak jeg hva hvorfor bevis",
    "French": "le la les un une des du de et est sont que qui quoi quel quelle quels quelles "
    "comment pourquoi combien où dans pour avec sur je tu il elle nous vous mon ton au aux ce "
    "cette ces ne pas bonjour salut merci calcule explique montre démontrer",
    "Spanish": "el los las uno una unos es son qué que quién cuál cómo por para con en del al se "
    "su sus mi hola gracias buenos buenas calcula explica escribe demuestra cuántos cuántas",
    "Portuguese": "os um uma uns umas são quem qual como porque não eu ele ela da dos das na nos "
    "nas num pelo olá obrigado escreva calcule",
    "Italian": "lo gli sono che chi cosa perché quanti quante quanto di nel nella dei delle della "
    "ciao grazie scrivi calcola spiega dimostra buongiorno",
    "Romanian": "și este sunt care ce cum pentru cu din în pe nu sau",
    "Latin": "quid est quod cum ad sunt et non",
    "Polish": "jest nie się jak co kto gdzie dlaczego ile czy dla że ze na od cześć dzień dobry "
    "napisz oblicz",
    "Czech, Croatian": "je jsou ne proč kolik kde kdo jaký jaká jaké ahoj napiš dokaž što tko "
    "koliko zašto",
    "Turkish": "bir ve bu ne kim nerede neden kaç için ile mi merhaba yaz hesapla",
    "Finnish, Estonian": "ja ei mikä kuka missä miksi kuinka miten mitä ovat hei kiitos moi laske",
    "Hungarian": "az egy és nem hogy mi ki hol miért mennyi szia köszönöm",
    "Indonesian, Filipino": "yang dan di ke dari apa siapa berapa mengapa bagaimana adalah ini itu "
    "untuk dengan halo terima kasih tulis hitung buktikan ang ng mga sa ano sino paano bakit",
    "Vietnamese, Swahili, without accents": "la gi cua ai nao bao nhieu xin chao na ya wa ni kwa "
    "habari jambo nini nani gani",
    "Hindi, Arabic, Chinese, Japanese, in Latin letters": "kya hai hain kaise kaun kyon ka ki ko "
    "se mein namaste aap marhaba shukran nihao ni hao xiexie konnichiwa arigato",
}

FUNCTION_WORDS = frozenset(_FUNCTION.split())
_ENGLISH_WORDS = (
    FUNCTION_WORDS | frozenset(_REQUESTS.split()) | frozenset(" ".join(KEYWORDS.values()).split())
) - frozenset(_SHARED.split())
_FOREIGN_WORDS = frozenset(" ".join(_FOREIGN.values()).split())


def is_english(text: str) -> bool:
    """Whether the words of a text are English; also where it has numbers and symbols only."""
    words = [word.casefold() for word in _WORD.findall(_MATHS.sub(" ", window(text)))]
    if not words:
        return not any(character.isalpha() and not character.isascii() for character in text)
    if len(words) - sum(map(str.isascii, words)) > _MAX_FOREIGN_SHARE * len(words):
        return False
    foreign = sum(map(_FOREIGN_WORDS.__contains__, words))
    english = sum(map(_ENGLISH_WORDS.__contains__, words))
    return english > foreign and english >= _MIN_SHARE * len(words)
