"""The words of the generated corpus: real ones first, the most common in front, and made-up ones after them."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

VOWELS = "aeiouyâàéèêëîïôöûùœh"  # before which a word is elided; every h of this corpus is mute
IRREGULAR = {"man": "men", "woman": "women", "child": "children", "knife": "knives"}
FRENCH = [c + v for c in "bcdfgjlmnprtv" for v in "aioué"]  # syllables of made-up words
ENGLISH = [c + v + e for c in "bdfgkmprstw" for v in "aeiou" for e in "bdlmnpt"]
MOST = 50_000  # words, which the syllables are enough for


class Noun(NamedTuple):
    """A noun in both languages."""

    french: str
    feminine: bool
    english: str

    @property
    def french_plural(self) -> str:
        """With s, or with x after eau."""
        if self.french[-1] in "sxz":
            return self.french
        return self.french + ("x" if self.french.endswith("eau") else "s")

    @property
    def english_plural(self) -> str:
        """With s, es or ies, unless it is irregular."""
        return IRREGULAR.get(self.english) or suffixed(self.english, "s")


class Adjective(NamedTuple):
    """An adjective in both languages, with its French forms: masculine, masculine before a vowel, and feminine."""

    masculine: str
    before_vowel: str
    feminine: str
    english: str
    first: bool = False  # whether French puts it before the noun

    def agreeing(self, feminine: bool, plural: bool, vowel: bool) -> str:
        """The French form.

        Args:
            feminine: the gender of the noun.
            plural: whether there are several.
            vowel: whether the next word begins with a vowel.
        """
        if not plural:
            return self.feminine if feminine else self.before_vowel if vowel else self.masculine
        form = self.feminine if feminine else self.masculine
        return form if form[-1] in "sx" else form + ("x" if form.endswith("eau") else "s")


class Verb(NamedTuple):
    """A verb in both languages: a regular one in -er in French."""

    stem: str
    english: str  # may end in a preposition, as in `look at`
    past: str = ""  # in English, where it is irregular
    to: bool = False  # whether French puts `à` before its object

    @property
    def english_third(self) -> str:
        """After he, she and it, in the present."""
        verb, *rest = self.english.split()
        return " ".join([suffixed(verb, "s"), *rest])

    @property
    def english_past(self) -> str:
        """In the simple past."""
        verb, *rest = self.english.split()
        return " ".join([self.past or suffixed(verb, "ed"), *rest])


class Lexicon(NamedTuple):
    """The words that sentences are made of, each kind from the most common word to the rarest."""

    nouns: list[Noun]
    adjectives: list[Adjective]
    verbs: list[Verb]


def lexicon(words: int) -> Lexicon:
    """The given number of words: three fifths nouns, one fifth adjectives, one fifth verbs.

    Where the real ones end, made-up ones follow, whose two languages have nothing in common.
    """
    others = words // 5
    nouns = itertools.chain(NOUNS, (Noun(fr, i % 2 == 1, en) for i, (fr, en) in enumerate(made_up(0))))
    adjectives = itertools.chain(ADJECTIVES, (Adjective(fr, fr, f"{fr}te", en) for fr, en in made_up(1)))
    verbs = itertools.chain(VERBS, (Verb(f"{fr}r", en) for fr, en in made_up(2)))
    first = itertools.islice
    return Lexicon(list(first(nouns, words - 2 * others)), list(first(adjectives, others)), list(first(verbs, others)))


def made_up(kind: int) -> Iterator[tuple[str, str]]:
    """Made-up words of one of three kinds, in French and in English; the same on every machine."""
    draw = np.random.Generator(np.random.PCG64(0))
    french = draw.permutation(len(FRENCH) ** 3)[:MOST]
    english = draw.permutation(len(ENGLISH) ** 2)[:MOST]
    for i in range(kind, MOST, 3):
        a, b, c = np.unravel_index(french[i], (len(FRENCH),) * 3)
        d, e = np.unravel_index(english[i], (len(ENGLISH),) * 2)
        yield FRENCH[a] + FRENCH[b] + FRENCH[c], ENGLISH[d] + ENGLISH[e]


def suffixed(word: str, suffix: str) -> str:
    """An English word with `s` or `ed`, spelled as the word asks for."""
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + ("ies" if suffix == "s" else "ied")
    if suffix == "s" and word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + ("d" if suffix == "ed" and word.endswith("e") else suffix)


NOUNS = [
    Noun(french, gender == "f", english)
    for french, gender, english in map(
        str.split,
        """
        homme m man, femme f woman, enfant m child, maison f house, chat m cat, chien m dog, ami m friend, livre m book,
        ville f town, voiture f car, arbre m tree, école f school, porte f door, table f table, lettre f letter,
        jardin m garden, chambre f room, oiseau m bird, marché m market, île f island, rue f street, fleur f flower,
        médecin m doctor, train m train, pomme f apple, œuf m egg, couteau m knife, bateau m boat, montagne f mountain,
        clé f key, fenêtre f window, roi m king, reine f queen, église f church, usine f factory, pont m bridge,
        chaise f chair, horloge f clock, boîte f box, élève m pupil, voisin m neighbour, rivière f river, chapeau m hat,
        étoile f star, avion m plane, image f picture, orange f orange, pain m bread, lampe f lamp, histoire f story
        """.split(","),
    )
]

ADJECTIVES = [
    Adjective("petit", "petit", "petite", "small", True),
    Adjective("grand", "grand", "grande", "big", True),
    Adjective("beau", "bel", "belle", "beautiful", True),
    Adjective("vieux", "vieil", "vieille", "old", True),
    Adjective("nouveau", "nouvel", "nouvelle", "new", True),
    Adjective("rouge", "rouge", "rouge", "red"),
    Adjective("noir", "noir", "noire", "black"),
    Adjective("blanc", "blanc", "blanche", "white"),
    Adjective("vert", "vert", "verte", "green"),
    Adjective("lourd", "lourd", "lourde", "heavy"),
    Adjective("jeune", "jeune", "jeune", "young", True),
    Adjective("mauvais", "mauvais", "mauvaise", "bad", True),
    Adjective("utile", "utile", "utile", "useful"),
    Adjective("heureux", "heureux", "heureuse", "happy"),
    Adjective("étrange", "étrange", "étrange", "strange"),
    Adjective("gentil", "gentil", "gentille", "kind"),
    Adjective("long", "long", "longue", "long", True),
    Adjective("cher", "cher", "chère", "expensive"),
    Adjective("anglais", "anglais", "anglaise", "english"),
    Adjective("vide", "vide", "vide", "empty"),
]

VERBS = [
    Verb("regard", "look at"),
    Verb("aim", "love"),
    Verb("cherch", "look for"),
    Verb("trouv", "find", "found"),
    Verb("parl", "speak to", "spoke", True),
    Verb("port", "carry"),
    Verb("écout", "listen to"),
    Verb("donn", "give", "gave"),
    Verb("visit", "visit"),
    Verb("attrap", "catch", "caught"),
    Verb("cach", "hide", "hid"),
    Verb("lav", "wash"),
    Verb("pardonn", "forgive", "forgave", True),
    Verb("aid", "help"),
    Verb("touch", "touch"),
    Verb("ressembl", "resemble", "", True),
    Verb("oubli", "forget", "forgot"),
    Verb("montr", "show"),
    Verb("téléphon", "call", "", True),
    Verb("utilis", "use"),
]
