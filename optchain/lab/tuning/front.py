"""The best trials of a study with several objectives, in its report."""

from matplotlib.axes import Axes

from optchain.lab.base.intervals import scored
from optchain.lab.reports.charts import COLORS, hovered, svg
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.trials import Trial, front

BLUE, ORANGE, *_ = COLORS


def front_charts(trials: list[Trial], objective: Objective) -> list[str]:
    """The finished trials by the first objective and each of the others; those on the front are filled."""
    best = {trial.number for trial in front(trials, objective)}
    finished = [trial for trial in trials if trial.state == "finished"]

    def chart(other: Objective) -> str:
        def draw(axes: Axes) -> None:
            for trial in finished:
                color = ORANGE if trial.number in best else BLUE
                x, y = trial.scores[objective.name], trial.scores[other.name]
                face = color if trial.number in best else "white"
                axes.plot([x], [y], "o", color=color, markerfacecolor=face, gid=f"trial{trial.number}")

        names = [one.name.replace("_", " ") for one in (objective, other)]
        text = svg(f"{names[1]} against {names[0]}", f"validation {names[0]}", draw, ylabel=f"validation {names[1]}")
        return hovered(text, {f"trial{trial.number}": titled(trial, objective) for trial in finished})

    return [chart(other) for other in objective.others]


def titled(trial: Trial, objective: Objective) -> str:
    """What a trial's mark says: its number, its scores and its values."""
    scores = [
        f"{one.name.replace('_', ' ')} {scored(trial.scores[one.name])}"
        for one in objective.all
        if one.name in trial.scores
    ]
    values = [f"{name} = {words}" for name, words in trial.words.items()]
    return "\n".join([f"trial {trial.number}, {trial.state}", *scores, *values])
