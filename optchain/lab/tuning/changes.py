"""What may be changed of a study between two sessions."""

from optchain.lab.runs.config import differences
from optchain.lab.tuning.tables import Study


def refused(old: Study, new: Study) -> list[str]:
    """The differences that make it another study. A larger budget and other ways to run it do not.

    Args:
        old: as it was begun.
        new: as it is to continue.
    """
    may = ("search.trials", "search.seconds", "search.parallel", "search.workers", "search.each", "search.lanes")
    may += ("search.fresh", "search.keep", "search.patience")
    if new.search.sampler == "grid":
        may = may[2:]
    return [line for line in differences(old, new) if not line.startswith(may)]
