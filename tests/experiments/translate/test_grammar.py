"""French is spelled as French is, and each sentence has one translation."""

import numpy as np
import pytest

from experiments.translate.grammar import Speaker, described, in_english, in_french, joined
from experiments.translate.lexicon import Adjective, Noun, Verb, lexicon

LE, UN, MON = ("le", "le", "la", "les"), ("un", "un", "une", "des"), ("mon", "mon", "ma", "mes")
CAT, TREE, SCHOOL = Noun("chat", False, "cat"), Noun("arbre", False, "tree"), Noun("école", True, "school")
OLD, RED = Adjective("vieux", "vieil", "vieille", "old", True), Adjective("rouge", "rouge", "rouge", "red")
LOOK, SPEAK = Verb("regard", "look at"), Verb("parl", "speak to", "spoke", True)

SAID = [
    (
        "son grand fafali du cavajo aimera un jardin sur un petit homme",
        "his big simsub of the tibpil will love a garden on a small man",
    ),
    ("une jajafu qui la regarde l' a trouvé", "a sendid that looks at it found it"),
    ("cette école de la lettre le cache sous un chien", "this school of the letter hides it under a dog"),
]


def test_a_sentence_has_one_translation():
    speaker = Speaker(150, 1.0, 2, np.random.Generator(np.random.PCG64(0)))
    found = {}
    for _ in range(5_000):
        french, english = speaker.sentence()
        assert found.setdefault(" ".join(french), english) == english


def test_the_same_seed_says_the_same_everywhere():
    speaker = Speaker(400, 1.0, 1, np.random.Generator(np.random.PCG64(7)))
    said = [tuple(" ".join(words) for words in speaker.sentence()) for _ in range(3)]
    assert said == SAID


@pytest.mark.parametrize(
    ("noun", "adjective", "plural", "forms", "french", "english"),
    [
        (CAT, RED, False, LE, "le chat rouge", "the red cat"),
        (TREE, OLD, False, LE, "le vieil arbre", "the old tree"),
        (CAT, OLD, True, LE, "les vieux chats", "the old cats"),
        (SCHOOL, OLD, True, LE, "les vieilles écoles", "the old schools"),
        (SCHOOL, None, False, MON, "mon école", "my school"),
        (SCHOOL, OLD, False, MON, "ma vieille école", "my old school"),
        (TREE, RED, False, ("ce", "cet", "cette", "ces"), "cet arbre rouge", "this red tree"),
        (Noun("bateau", False, "boat"), None, True, UN, "des bateaux", "some boats"),
        (Noun("usine", True, "factory"), None, True, LE, "les usines", "the factories"),
        (Noun("enfant", False, "child"), None, True, LE, "les enfants", "the children"),
    ],
)
def test_what_agrees(noun, adjective, plural, forms, french, english):
    means = {LE: "the", MON: "my", UN: "some"}.get(forms, "this")
    said = described(noun, adjective, plural, forms, means)
    assert (" ".join(joined(said[0])), " ".join(said[1])) == (french, english)


def test_an_before_a_vowel():
    useful = Adjective("utile", "utile", "utile", "useful")
    assert described(Noun("pomme", True, "apple"), None, False, UN, "a")[1] == ["an", "apple"]
    assert described(Noun("pomme", True, "apple"), useful, False, UN, "a")[1] == ["a", "useful", "apple"]


@pytest.mark.parametrize(
    ("words", "french"),
    [
        ("je ne le aime pas", "je ne l' aime pas"),
        ("je ne aime pas le homme", "je n' aime pas l' homme"),
        ("il parle à le voisin de les femmes", "il parle au voisin des femmes"),
        ("le livre de le arbre que il porte", "le livre de l' arbre qu' il porte"),
        ("un train de des oiseaux", "un train d' oiseaux"),
    ],
)
def test_words_beside_one_another(words, french):
    assert " ".join(joined(words.split())) == french


def test_verbs_of_all_persons_and_tenses():
    assert in_french(LOOK, 4, 0, True, "les") == ["ne", "les", "regardez", "pas"]
    assert in_french(LOOK, 2, 1, True, "la", "e") == ["ne", "la", "a", "pas", "regardée"]
    assert in_french(SPEAK, 3, 2) == ["parlerons"]
    assert in_english(LOOK, 2, 0) == ["looks", "at"]
    assert in_english(SPEAK, 2, 1) == ["spoke", "to"]
    assert in_english(LOOK, 2, 0, True) == ["does", "not", "look", "at"]
    assert in_english(LOOK, 0, 1, True) == ["did", "not", "look", "at"]
    assert in_english(Verb("port", "carry"), 2, 0) == ["carries"]
    assert in_english(Verb("port", "carry"), 5, 1) == ["carried"]


def test_the_exponent_says_how_often_words_are_said():
    counts = {}
    for zipf in (0.0, 1.5):
        speaker = Speaker(100, zipf, 0, np.random.Generator(np.random.PCG64(0)))
        said = [speaker.noun() for _ in range(6_000)]
        counts[zipf] = [said.count(noun) for noun in lexicon(100).nouns]
    assert max(counts[0.0]) < 2 * min(counts[0.0])
    assert counts[1.5][0] / counts[1.5][3] == pytest.approx(4**1.5, rel=0.25)


def test_made_up_words_are_all_different():
    known = lexicon(10_000)
    assert [len(kind) for kind in known] == [6_000, 2_000, 2_000]
    for kind in known:
        assert len({word[0] for word in kind}) == len({word.english for word in kind}) == len(kind)
