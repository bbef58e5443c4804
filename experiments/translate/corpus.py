"""Pairs of sentences: of a generated corpus, or of a file of Tatoeba's pairs."""

import re
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.translate.grammar import Sentence, Speaker
from optchain import lab

PATIENCE = 10  # sentences in a row that were there already, or are too long, before it is said that there are too few
FRENCH, ENGLISH = re.compile(r"\w+'?|[^\w\s]"), re.compile(r"\w+(?:'\w+)*|[^\w\s]")


def generated(
    examples: int, vocabulary: int, zipf: float, depth: int, noise: float, longest: int, seed: int
) -> list[Sentence]:
    """Different French sentences and their English.

    Args:
        examples: how many.
        vocabulary: nouns, adjectives and verbs that are known.
        zipf: exponent of their frequencies, see `Speaker`.
        depth: phrases that may stand within one another.
        noise: the chance of each French word to be replaced by one that is drawn from all words of the corpus.
        longest: words that a sentence may have in either language.
        seed: of all that is drawn; the same everywhere.

    Raises:
        InputError: there are not as many different sentences.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    speaker = Speaker(vocabulary, zipf, depth, draw)
    found: dict[tuple[str, ...], list[str]] = {}
    missed = 0
    while len(found) < examples:
        french, english = speaker.sentence()
        if max(len(french), len(english)) > longest or tuple(french) in found:
            missed += 1
            if missed > PATIENCE * examples:
                said = f"only {len(found)} different sentences of up to {longest} words were found"
                raise lab.InputError(f"task.examples: got {examples}; {said}; raise vocabulary, depth or longest")
        else:
            found[tuple(french)] = english
    pairs = [(list(french), english) for french, english in found.items()]
    return list(_noisy(pairs, noise, draw)) if noise else pairs


def _noisy(pairs: list[Sentence], noise: float, draw: np.random.Generator) -> Iterator[Sentence]:
    """The pairs with some of the French words replaced."""
    words = [word for french, _ in pairs for word in french]
    for french, english in pairs:
        replaced = draw.random(len(french)) < noise
        others = draw.integers(len(words), size=len(french))
        yield [words[i] if so else word for word, so, i in zip(french, replaced, others, strict=True)], english


def tatoeba(path: Path, longest: int) -> list[Sentence]:
    """The pairs of a file with a line `English TAB French` for each, as manythings.org/anki has them, or of an archive.

    Words are in lower case; marks stand alone.

    Args:
        path: a `.txt` file, or a `.zip` archive that holds one.
        longest: words that a sentence may have in either language; pairs with a longer one are left out.

    Raises:
        InputError: no such file, or no such lines.
    """
    pairs = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        english, tab, rest = line.partition("\t")
        if not tab:
            raise lab.InputError(f"task.path: {path}, line {number}: no tab; expected English, a tab, and French")
        pair = words_of(rest.partition("\t")[0], FRENCH), words_of(english, ENGLISH)
        if 0 < min(map(len, pair)) and max(map(len, pair)) <= longest:
            pairs.append(pair)
    if not pairs:
        raise lab.InputError(f"task.path: {path} has no pair of sentences of up to {longest} words")
    return list({(tuple(french), tuple(english)): (french, english) for french, english in pairs}.values())


def words_of(text: str, pattern: re.Pattern[str]) -> list[str]:
    """The words and marks of a sentence, in lower case."""
    return pattern.findall(unicodedata.normalize("NFKC", text).replace("\u2019", "'").lower())


def _text(path: Path) -> str:
    try:
        if not zipfile.is_zipfile(path):
            return path.read_text(encoding="utf-8")
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".txt") and not name.startswith("_")]
            if len(names) != 1:
                has = ", ".join(archive.namelist())
                raise lab.InputError(f"task.path: {path} holds {has}; expected one .txt file of pairs")
            return archive.read(names[0]).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise lab.InputError(f"task.path: {path}: {error}; expected lines of English, a tab, and French") from None
