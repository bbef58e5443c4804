"""Whether every configuration that a study may try can be run."""

from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.training.experiment import build
from optchain.lab.training.local import require_in_process
from optchain.lab.training.rates import doubts
from optchain.lab.tuning import space
from optchain.lab.tuning.lanes import require_side_by_side
from optchain.lab.tuning.tables import Study


def require_buildable(study: Study, source: str) -> None:
    """The configuration can be built as it is written, and with every choice and both ends of every range.

    Args:
        study: with the configuration and the space.
        source: of the study, to name in errors.

    Raises:
        InputError: naming the dimension and the value.
    """
    part = study.search.parts[0]
    built = build(study.config({}, part), source)
    require_in_process(built.config.gradient)
    for doubt in doubts(built.config, built.tx):
        say(f"{source}: {doubt}")
    for labels in space.samples(study.space):
        name, label = list(labels.items())[-1]
        where = f"{source}: space.{name!r} = {label!r}"
        try:
            resolved = study.config(space.values(labels, study.space), part)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        built = build(resolved, where)
        try:
            if study.search.side_by_side:
                require_side_by_side(built.config, built.task)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
