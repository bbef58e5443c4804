"""In what the configurations of a report differ: their values in a table, their optimizers link by link."""

import optchain as oc
from optchain.lab.reports.configurations import Configuration, differing
from optchain.lab.reports.page import card, table
from optchain.lab.runs.config import chain_of


def differences(groups: list[Configuration]) -> list[str]:
    """What differs between the configurations; that nothing does, where there is one."""
    if len(groups) == 1:
        seeds = ", ".join(map(str, groups[0].seeds))
        return [f'<p class="sub">One configuration, {len(groups[0].runs)} runs with the seeds {seeds}.</p>']
    first, *others = (chain_of(next(iter(group.runs.values())).config) for group in groups)
    apart = {number: oc.diff(first, tx) for number, tx in enumerate(others, 2)}
    optimizers = (
        f"<details><summary>Optimizer of configuration {number} beside that of 1</summary>{card(str(found))}</details>"
        for number, found in apart.items()
        if found
    )
    return [f"<h2>What differs</h2>\n{table(differing(groups))}", *optimizers]
