"""Pairs of sentences, generated and read from files, and their numbers."""

import zipfile

import numpy as np
import pytest

from experiments.tasks.translate import Translate
from experiments.translate.corpus import ENGLISH, FRENCH, generated, tatoeba, words_of
from experiments.translate.vocabulary import BEGIN, END, PAD, UNKNOWN, Vocabulary
from optchain import lab

LINES = "Go.\tVa !\nI don't know.\tJe ne sais pas.\tCC-BY 2.0\nGo.\tBouge !\nI am happy to see you here.\tCoucou.\n"


def test_words_and_marks():
    assert words_of("L\u2019homme n'a\u202fpas dit\u00a0: \u00ab\u00a0Va\u00a0!\u00a0\u00bb", FRENCH) == [
        *("l'", "homme", "n'", "a", "pas", "dit", ":", "«", "va", "!", "»")
    ]
    assert words_of("I don't, she said.", ENGLISH) == ["i", "don't", ",", "she", "said", "."]


@pytest.mark.parametrize("archive", [False, True])
def test_a_file_of_pairs(tmp_path, archive):
    path = tmp_path / ("fra.zip" if archive else "fra.txt")
    if archive:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("_about.txt", "whose it is")
            file.writestr("fra.txt", LINES + LINES)
    else:
        path.write_text(LINES + LINES, encoding="utf-8")
    assert tatoeba(path, 5) == [
        (["va", "!"], ["go", "."]),
        (["je", "ne", "sais", "pas", "."], ["i", "don't", "know", "."]),
        (["bouge", "!"], ["go", "."]),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Go. Va !\n", "line 1: no tab"),
        ("Go.\tVa !\nGo.\n", "line 2: no tab; expected English, a tab, and French"),
        ("", "no pair of sentences of up to 4 words"),
        ("I am happy to see you here.\tJe suis heureux de te voir ici.\n", "no pair of sentences of up to 4 words"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_none(tmp_path, text, problem):
    path = tmp_path / "fra.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(lab.InputError, match=problem) as caught:
        tatoeba(path, 4)
    assert "task.path" in str(caught.value) and str(path) in str(caught.value)


def test_an_archive_of_other_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("a.csv", "1")
    with pytest.raises(lab.InputError, match=r"holds a\.csv; expected one \.txt file"):
        tatoeba(tmp_path / "x.zip", 4)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(lab.InputError, match="expected lines of English, a tab, and French"):
        tatoeba(tmp_path / "x.txt", 4)


def test_too_few_sentences():
    with pytest.raises(
        lab.InputError, match=r"task\.examples: got 3000; only \d+ different sentences of up to 4 words"
    ):
        generated(3000, 20, 1.0, 0, 0.0, 4, 0)


def test_noise_is_in_the_french_alone():
    clean, noisy = (generated(500, 100, 1.0, 1, noise, 8, 3) for noise in (0.0, 0.2))
    assert [english for _, english in clean] == [english for _, english in noisy]
    before, after = ([word for french, _ in pairs for word in french] for pairs in (clean, noisy))
    assert 0.1 < np.mean(np.array(before) != np.array(after)) < 0.2  # some are replaced by themselves


def test_numbers_of_words():
    vocabulary = Vocabulary.of([["a", "b"], ["b", "c"], ["b", "a"]], least=2)
    assert vocabulary.words[4:] == ("b", "a")
    rows = vocabulary.encode([["a", "c"], ["b"]], 4)
    np.testing.assert_array_equal(rows, [[5, UNKNOWN, END, PAD], [4, END, PAD, PAD]])
    assert vocabulary.decode(rows) == ["a <unknown>", "b"]


def test_the_examples():
    made = Translate(examples=300, vocabulary=60, longest=7).load()
    source, before = made.inputs["source"], made.inputs["before"]
    assert source.shape == before.shape == made.targets.shape == (300, 8)
    np.testing.assert_array_equal(before[:, 1:], made.targets[:, :-1])
    assert (before[:, 0] == BEGIN).all() and (made.targets == END).sum() == 300
    words = (made.targets != PAD).sum(1)
    np.testing.assert_allclose(made.weights, words / words.mean(), rtol=1e-6)
    sentences = Vocabulary(tuple(made.labels)).decode(made.targets)
    same = {}
    for sentence, group in zip(sentences, made.groups, strict=True):
        assert same.setdefault(sentence, group) == group
    assert len(set(same.values())) == len(same)
    assert source.max() < made.ids and made.targets.max() < len(made.labels)
