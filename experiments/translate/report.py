"""The survey's question, answered from comparisons: which family of optimizers wins on translation."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.translate.families import GRADIENT, MOMENTS, SURVEYED, family_of, members
from experiments.translate.scores import bootstrap
from experiments.translate.translated import Translated, translator
from optchain import lab

SHOWN = 5  # translations
ASKED = (
    "Chang, Liang and Li (Computer Engineering and Applications 60(7), 2024, doi 10.3778/j.issn.1002-8331.2307-0370) "
    "compare three families of optimizers, gradient descent, adaptive gradients and adaptive moments, on a transformer "
    "that translates French to English, and find that adaptive moments win. Only the abstract is public: their table "
    "is not reproduced here, but the question is asked again, with every optimizer tuned by as many trials as the "
    "others, all of equal length. The best optimizer of a family, by validation loss, stands for it."
)


@dataclasses.dataclass(frozen=True)
class Survey:
    """What a comparison of optimizers found, with the test sentences of each fresh run.

    Args:
        name: of the corpus.
        comparison: the comparison.
        runs: of each optimizer, the fresh runs that did not diverge, by seed.
        diverged: of each optimizer, how many did.
    """

    name: str
    comparison: lab.Comparison
    runs: Mapping[str, Mapping[int, Translated]]
    diverged: Mapping[str, int]

    @classmethod
    def of(cls, name: str, comparison: lab.Comparison, sentences: int) -> "Survey":
        """Translate the test sentences with every fresh run.

        Raises:
            InputError: no optimizer has a fresh run that finished.
        """
        fresh = {optimizer: study.fresh for optimizer, study in comparison.studies.items()}
        done = {
            optimizer: [run for run in runs if run.ending.startswith("finished")] for optimizer, runs in fresh.items()
        }
        first = next((run for runs in done.values() for run in runs), None)
        if first is None:
            raise lab.InputError(f"{comparison.folder}: no fresh run has finished; `optchain compare` makes them")
        translated = translator(first, sentences)
        made = {
            optimizer: {run.config.train.seed: translated(run) for run in runs}
            for optimizer, runs in done.items()
            if runs
        }
        return cls(name, comparison, made, {name: len(fresh[name]) - len(done[name]) for name in fresh})

    def loss(self, optimizer: str) -> lab.Interval:
        """The mean validation loss, by which optimizers are chosen."""
        return lab.interval([x.run.scores["validation"]["loss"] for x in self.runs[optimizer].values()])

    @property
    def ranked(self) -> list[str]:
        """The optimizers from the lowest validation loss to the highest."""
        return sorted(self.runs, key=lambda name: self.loss(name).mean)

    def best(self, family: str) -> str | None:
        """The optimizer that stands for a family; None if none of it was compared."""
        return next(iter(members(family, self.ranked)), None)

    def score(self, optimizer: str, score: str) -> list[float]:
        """A score on the test sentences, of each run."""
        return [x.loss if score == "loss" else x.scores[score] for x in self.runs[optimizer].values()]

    def behind(self, optimizer: str, first: str, score: str = "loss") -> lab.Interval:
        """A score minus that of another optimizer, on the seeds that both finished."""
        ours, theirs = self.runs[optimizer], self.runs[first]
        value = lambda x: x.loss if score == "loss" else x.scores[score]  # noqa: E731
        return lab.interval([value(ours[seed]) - value(theirs[seed]) for seed in ours if seed in theirs])

    @property
    def answer(self) -> str:
        """Which family wins, in one sentence."""
        best = {family: name for family in SURVEYED if (name := self.best(family)) is not None}
        if len(best) < 2:
            return f"On {self.name}, fewer than two of the families were compared, so that none wins."
        order = sorted(best, key=lambda family: self.loss(best[family]).mean)
        first, others = order[0], order[1:]
        gaps = {family: self.behind(best[family], best[first]) for family in others}
        clear = all(gap.mean - gap.half > 0 for gap in gaps.values())
        led = " and ".join(
            f"{gap} below the best of {family}, {best[family].replace('_', ' ')}" for family, gap in gaps.items()
        )
        won = "wins" if clear else "has the lowest loss, but not for sure"
        name, mean = best[first].replace("_", " "), lab.interval(self.score(best[first], "loss"))
        return (
            f"On {self.name}, the family of {first} {won}: {name} has a test loss of {mean} nats a word, {led} "
            "(means of fresh seeds, 95 % intervals of the paired differences)."
        )

    def middle(self, optimizer: str) -> Translated:
        """The run with the median validation loss, whose sentences the bootstrap draws from."""
        runs = self.runs[optimizer].values()
        median = statistics.median_low(x.run.scores["validation"]["loss"] for x in runs)
        return next(x for x in runs if x.run.scores["validation"]["loss"] == median)


def write(surveys: Sequence[Survey], path: Path) -> None:
    """Write the report as one HTML file that needs nothing else."""
    page = lab.Page("Which optimizers translate best?")
    page.text(" ".join(survey.answer for survey in surveys))
    page.text(ASKED)
    for survey in surveys:
        _add(page, survey)
    page.write(path)


def rows_of(survey: Survey) -> list[dict[str, object]]:
    """A row for each optimizer, the best first."""
    ranked = survey.ranked
    against = bootstrap({name: survey.middle(name).greedy for name in ranked}, survey.middle(ranked[0]).right)
    studies = survey.comparison.studies
    return [
        {
            "optimizer": name.replace("_", " "),
            "family": family_of(name),
            "best point": ", ".join(
                f"{key} {x:.3g}" if isinstance(x, float) else f"{key} {x}" for key, x in studies[name].best.items()
            ),
            "test loss": lab.interval(survey.score(name, "loss")),
            "behind the first": "" if name == ranked[0] else survey.behind(name, ranked[0]),
            "exact, %": _shown([100 * x for x in survey.score(name, "exact")]),
            "BLEU": _shown(survey.score(name, "BLEU")),
            "BLEU, beam of 4": _shown(survey.score(name, "BLEU, beam")),
            "p of its BLEU": "" if name == ranked[0] else f"{against[name]:.3f}",
            "diverged": survey.diverged[name],
        }
        for name in ranked
    ]


def _shown(scores: Sequence[float]) -> str:
    """Scores from 0 to 100, of which the first decimal says enough."""
    found = lab.interval(scores)
    return f"{found.mean:.1f} ± {found.half:.1f}"


def _add(page: lab.Page, survey: Survey) -> None:
    page.heading(survey.name[0].upper() + survey.name[1:])
    page.text(survey.answer)
    page.table(rows_of(survey))
    page.text(
        "Ranked by validation loss; all else is of the test sentences. Exact: the share of sentences that are "
        "translated word for word. p: that the BLEU of the run with the median loss differs from that of the first "
        "one's by chance, by sacrebleu's paired bootstrap over sentences."
    )
    for score, label in (("loss", "test loss, nats a word"), ("BLEU", "BLEU of greedy translations")):
        values = {f"{name.replace('_', ' ')} ({family_of(name)})": survey.score(name, score) for name in survey.ranked}
        page.forest(f"{survey.name}: {label}, mean, 95 % interval", label, values)
    shown = [name for name in (survey.ranked[0], survey.best(MOMENTS), survey.best(GRADIENT)) if name]
    said = {name: survey.middle(name) for name in dict.fromkeys(shown)}
    right = next(iter(said.values())).right
    page.table(
        [
            {"right": right[i]} | {name.replace("_", " "): x.greedy[i] for name, x in said.items()}
            for i in range(min(SHOWN, len(right)))
        ]
    )
