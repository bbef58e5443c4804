"""A database that goes away while a study uses it."""

import contextlib
from collections.abc import Iterator

from optuna.exceptions import StorageInternalError

from optchain.lab.base.errors import LostError, first_line
from optchain.lab.tuning.tables import Search


@contextlib.contextmanager
def told(search: Search) -> Iterator[None]:
    """Within this context the database of a study may go away, which is then said in one line.

    Raises:
        LostError: it did.
    """
    if search.storage is None:
        yield
        return
    from sqlalchemy import make_url  # Optuna's own, needed for databases only
    from sqlalchemy.exc import InterfaceError, OperationalError

    try:
        yield
    except (StorageInternalError, OperationalError, InterfaceError) as error:
        cause = error if error.__cause__ is None else error.__cause__
        place = make_url(search.storage).render_as_string(hide_password=True)
        cure = "start this command again when it is back; the leases of the trials in progress will lapse"
        raise LostError(f"the database of the study, {place}, went away ({first_line(cause)}); {cure}") from error
