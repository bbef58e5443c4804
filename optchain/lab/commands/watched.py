"""The report of whatever is in a folder, as it is now: a run, a study, a comparison, or nothing yet."""

import html
from pathlib import Path

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import interrupting
from optchain.lab.comparison import compare
from optchain.lab.comparison import report as comparisons
from optchain.lab.reports import report as runs
from optchain.lab.reports.live import Live
from optchain.lab.reports.page import page_of
from optchain.lab.reports.server import Server
from optchain.lab.runs.run import Run
from optchain.lab.tuning import report as studies
from optchain.lab.tuning import tune
from optchain.lab.tuning.seen import seen


class Watched:
    """The pages of a folder by their paths: its report at `""`, and those of the studies to which it has links."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pages = folder, {"": Live(folder, page)}

    def __call__(self, path: str) -> str | None:
        """The page at a path, None where there is none."""
        if (self.folder / "comparison.json").is_file():
            for study in self.folder.glob("studies/*/study.json"):
                self.pages.setdefault(f"studies/{study.parent.name}/report.html", Live(study.parent, page))
        return self.pages[path].page() if path in self.pages else None


def watch(folder: Path, host: str, port: int) -> None:
    """Serve the report of a folder until the command is stopped.

    Args:
        folder: of a run, a study or a comparison, which need not have begun.
        host: the name or the address to listen at.
        port: to listen at, 0 for any that is free.

    Raises:
        InputError: the host is not one of this machine, the port is taken, or the folder is a file.
        Interrupted: a signal ended it.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected the folder of a run, a study or a comparison")
    with interrupting(), Server(Watched(folder), host, port) as server:
        there = "" if folder.is_dir() else f" ({folder} is not there yet)"
        print(f"report: {server.url}{there}; Ctrl-C ends this", flush=True)
        server.serve_forever()


def page(folder: Path) -> str:
    """The report of whatever is in a folder, or a page that says what is awaited. Nothing is written."""
    if (folder / "comparison.json").is_file():
        comparison, tunings = compare.reopened(folder)
        waiting = [name for name, tuning in tunings.items() if not (tuning.folder / "study.json").is_file()]
        if waiting:
            return _awaiting(folder, f"the studies of {', '.join(waiting)}")
        return comparisons.page(comparison, {name: seen(tuning) for name, tuning in tunings.items()}, folder)[0]
    if (folder / "study.json").is_file():
        if not (folder / "run.json").is_file():
            return _awaiting(folder, "run.json, which is written next")
        return studies.page(seen(tune.reopened(folder)))[0]
    if not (folder / "config.json").is_file():
        return _awaiting(folder, "a run, a study or a comparison with this folder as its --out")
    missing = [name for name in ("run.json", "task.json", "metrics.jsonl") if not (folder / name).is_file()]
    if missing:
        return _awaiting(folder, f"{missing[0]}, as the run has just begun")
    return runs.page([Run(folder)])


def _awaiting(folder: Path, what: str) -> str:
    said = f"Nothing to report of {folder} yet; awaited: {what}. This page looks again by itself."
    return page_of("Waiting", [f'<p class="sub">{html.escape(said)}</p>'])
