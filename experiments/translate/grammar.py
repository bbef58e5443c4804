"""A grammar of French sentences and their English: whoever knows it knows the one right translation of each.

Sentences have a subject, a verb and an object, and maybe a place. What makes them more than words replaced one by one:
gender and number of articles, possessives and adjectives, some of which follow their noun; elision (l', j', n', qu',
d', m', t') and bel, vieil, nouvel, cet, mon before vowels; du, des, au and aux; ne ... pas around the verb; object
pronouns before it, with which participles agree; and three tenses. Where French leaves the English open, one word is
always meant: `it` by le and la, `him` by lui, `his` by son.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.translate.lexicon import VOWELS, Adjective, Noun, Verb, lexicon

Sentence = tuple[list[str], list[str]]  # words in French and in English

PRONOUN, PLACE, NEGATED, DESCRIBED, PLURAL = 0.35, 0.25, 0.25, 0.35, 0.3  # how often each is said
OWNER, WHO, THAT = 0.15, 0.1, 0.1  # what follows a noun: `of ...`, `that sees ...`, `that he sees`
SUBJECTS = (  # in French, in English, and the person of the verb
    *(("je", "i", 0), ("tu", "you", 1), ("il", "he", 2), ("elle", "she", 2)),
    *(("nous", "we", 3), ("vous", "you", 4), ("ils", "they", 5), ("elles", "they", 5)),
)
OBJECTS = (  # in French and in English, both also for a verb with `à`, and what a participle ends in
    *(("le", "it", "lui", "him", ""), ("la", "it", "lui", "him", "e")),
    *(("les", "them", "leur", "them", "s"), ("les", "them", "leur", "them", "es")),
    *(("me", "me", "me", "me", ""), ("te", "you", "te", "you", "e")),
    *(("nous", "us", "nous", "us", "s"), ("vous", "you", "vous", "you", "es")),
)
THIRD = OBJECTS[:4]
PRESENT = ("e", "es", "e", "ons", "ez", "ent")
FUTURE = ("erai", "eras", "era", "erons", "erez", "eront")
HAVE = ("ai", "as", "a", "avons", "avez", "ont")
DETERMINERS = (  # how often, then: masculine, before a vowel, feminine, plural; in English one and several
    (0.4, ("le", "le", "la", "les"), ("the", "the")),
    (0.25, ("un", "un", "une", "des"), ("a", "some")),
    (0.1, ("ce", "cet", "cette", "ces"), ("this", "these")),
    (0.05, ("mon", "mon", "ma", "mes"), ("my", "my")),
    (0.05, ("ton", "ton", "ta", "tes"), ("your", "your")),
    (0.05, ("son", "son", "sa", "ses"), ("his", "his")),
    (0.05, ("notre", "notre", "notre", "nos"), ("our", "our")),
    (0.05, ("leur", "leur", "leur", "leurs"), ("their", "their")),
)
NUMBERS = (("deux", "two"), ("trois", "three"), ("quatre", "four"), ("cinq", "five"), ("six", "six"), ("dix", "ten"))
COUNTED = 0.3  # of what is indefinite and several, how much is counted
PLACES = (("dans", "in"), ("sur", "on"), ("sous", "under"), ("avec", "with"), ("derrière", "behind"), ("pour", "for"))
ELIDED = ("je", "ne", "le", "la", "de", "que", "me", "te")
CONTRACTED = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}
WITH_A = ("useful",)  # begins with a vowel's letter, but not with its sound


class Phrase(NamedTuple):
    """Words about a thing, or about several."""

    french: list[str]
    english: list[str]
    plural: bool


class Speaker:
    """Says sentences.

    Args:
        words: nouns, adjectives and verbs that are known, see `lexicon`.
        zipf: the n-th word of a kind is said n ** -zipf times as often as the first; 0 for all equally often.
        depth: phrases that may stand within one another, such as `of the friend of the man`.
        draw: from which all that is chosen is drawn.
    """

    def __init__(self, words: int, zipf: float, depth: int, draw: np.random.Generator) -> None:
        known = lexicon(words)
        self.draw, self.depth = draw, depth
        self.noun, self.adjective, self.verb = (self._chooser(kind, zipf) for kind in known)
        self.direct_verb = self._chooser([verb for verb in known.verbs if not verb.to], zipf)

    def sentence(self) -> Sentence:
        """The words of a sentence, in lower case; elided ones end in their apostrophe."""
        if self._happens(PRONOUN):
            french, english, person = self._any(SUBJECTS)
            subject = Phrase([french], [english], plural=person > 2)
        else:
            subject = self._thing(self.depth)
            person = 5 if subject.plural else 2
        says, means = self._predicate(person, self.depth)
        if self._happens(PLACE):
            (preposition, where), place = self._any(PLACES), self._thing(0)
            says, means = [*says, preposition, *place.french], [*means, where, *place.english]
        return joined([*subject.french, *says]), [*subject.english, *means]

    def _predicate(self, person: int, depth: int) -> Sentence:
        """A verb and its object."""
        verb, tense, negated = self.verb(), int(self.draw.integers(3)), self._happens(NEGATED)
        means = in_english(verb, person, tense, negated)
        if self._happens(PRONOUN):
            # A first or second person gets an object of the third, or it might be meant itself.
            direct, english, after, to_english, ending = self._any(OBJECTS if person in (2, 5) else THIRD)
            if verb.to:
                return in_french(verb, person, tense, negated, after), [*means, to_english]
            return in_french(verb, person, tense, negated, direct, ending), [*means, english]
        thing = self._thing(depth)
        return [*in_french(verb, person, tense, negated), *["à"] * verb.to, *thing.french], [*means, *thing.english]

    def _thing(self, depth: int) -> Phrase:
        """A noun with all that belongs to it."""
        noun, plural = self.noun(), self._happens(PLURAL)
        adjective = self.adjective() if self._happens(DESCRIBED) else None
        french, english = described(noun, adjective, plural, *self._determiner(plural))
        after = self._after(noun, plural, depth) if depth else ([], [])
        return Phrase([*french, *after[0]], [*english, *after[1]], plural)

    def _after(self, noun: Noun, plural: bool, depth: int) -> Sentence:
        """What follows a noun; nothing, as a rule."""
        kind = self.draw.random()
        if kind < OWNER:
            owner = self._thing(depth - 1)
            return ["de", *owner.french], ["of", *owner.english]
        if kind < OWNER + WHO:
            says, means = self._predicate(5 if plural else 2, depth - 1)
            return ["qui", *says], ["that", *means]
        if kind < OWNER + WHO + THAT:
            verb, tense = self.direct_verb(), int(self.draw.integers(3))
            french, english, person = self._any(SUBJECTS)
            says = in_french(verb, person, tense, ending="e" * noun.feminine + "s" * plural)
            return ["que", french, *says], ["that", english, *in_english(verb, person, tense)]
        return [], []

    def _determiner(self, plural: bool) -> tuple[Sequence[str], str]:
        """The four French forms and the English one."""
        which = int(self.draw.choice(len(DETERMINERS), p=[share for share, *_ in DETERMINERS]))
        _, forms, english = DETERMINERS[which]
        if plural and english[1] == "some" and self._happens(COUNTED):
            number, means = self._any(NUMBERS)
            return (number,) * 4, means
        return forms, english[plural]

    def _chooser(self, words: Sequence[Any], zipf: float) -> Callable[[], Any]:
        """Gives one of the words, the first ones more often."""
        edges = np.cumsum(np.arange(1, len(words) + 1, dtype=float) ** -zipf)
        return lambda: words[int(np.searchsorted(edges, self.draw.random() * edges[-1], "right"))]

    def _happens(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def _any(self, options: Sequence[Any]) -> Any:
        return options[int(self.draw.integers(len(options)))]


def described(noun: Noun, adjective: Adjective | None, plural: bool, forms: Sequence[str], english: str) -> Sentence:
    """A noun with its determiner and adjective.

    Args:
        noun: the noun.
        adjective: what it is like; None if nothing is said of that.
        plural: whether there are several.
        forms: the French determiner: masculine, before a vowel, feminine and plural.
        english: the English one, `a` for an as well.
    """
    french = [noun.french_plural if plural else noun.french]
    means = [noun.english_plural if plural else noun.english]
    if adjective is not None:
        form = adjective.agreeing(noun.feminine, plural, adjective.first and is_vowel(french[0]))
        french.insert(0 if adjective.first else 1, form)
        means.insert(0, adjective.english)
    masculine, before_vowel, feminine, several = forms
    vowel = is_vowel(french[0])
    # `mon` and its like stand before a feminine vowel too: mon amie, mon école.
    like_masculine = vowel and feminine in ("ma", "ta", "sa")
    one = (
        before_vowel if vowel and not noun.feminine else masculine if like_masculine or not noun.feminine else feminine
    )
    if english == "a" and means[0][0] in "aeiou" and means[0] not in WITH_A:
        english = "an"
    return [several if plural else one, *french], [english, *means]


def in_french(
    verb: Verb, person: int, tense: int, negated: bool = False, pronoun: str | None = None, ending: str = ""
) -> list[str]:
    """A verb with what stands around it.

    Args:
        verb: the verb.
        person: 0 to 2 for one, 3 to 5 for several.
        tense: 0 present, 1 past, 2 future.
        negated: whether ne ... pas stands around it.
        pronoun: the object before it.
        ending: of the participle, which agrees with an object before it.
    """
    finite = (verb.stem + PRESENT[person], HAVE[person], verb.stem + FUTURE[person])[tense]
    participle = [f"{verb.stem}é{ending}"] if tense == 1 else []
    before = ["ne"] * negated + ([pronoun] if pronoun else [])
    return [*before, finite, *["pas"] * negated, *participle]


def in_english(verb: Verb, person: int, tense: int, negated: bool = False) -> list[str]:
    """A verb with its helpers; the arguments are those of `in_french`."""
    if tense == 2:
        return ["will", *["not"] * negated, *verb.english.split()]
    third = person == 2 and tense == 0
    if negated:
        return ["did" if tense else "does" if third else "do", "not", *verb.english.split()]
    return (verb.english_past if tense else verb.english_third if third else verb.english).split()


def joined(words: Sequence[str]) -> list[str]:
    """French words as they are beside one another: some are left out, elided before a vowel, or contracted."""
    words = [word for before, word in zip(["", *words], words, strict=False) if (before, word) != ("de", "des")]
    after = [*words[1:], "."]
    words = [
        f"{word[:-1]}'" if word in ELIDED and is_vowel(next_) else word
        for word, next_ in zip(words, after, strict=True)
    ]
    found: list[str] = []
    for word in words:
        if found and (found[-1], word) in CONTRACTED:
            word = CONTRACTED[found.pop(), word]
        found.append(word)
    return found


def is_vowel(word: str) -> bool:
    """Whether a word begins with a vowel's sound."""
    return word[0] in VOWELS
