"""The one exception hierarchy, with an exit status per class.

Every error a user can meet says *what* is wrong, *where* (file, column, line, SNP, table), *how much* of it there is, and
*what to do next*. The command line prints these fields and leaves with the class's exit status; library users catch the
class.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class GsemError(Exception):
    """Base of all errors raised on purpose by gsem_spark.

    Parameters
    ----------
    what
        One sentence: the rule that is broken, with the numbers in it.
    where
        The place: a file with its line and column, a table, a trait, a SNP. Empty when there is no place to name.
    remedy
        The next thing to do, as an instruction. Empty only when nothing can be done.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [self.what if not self.where else f"{self.where}: {self.what}"]
        if self.remedy:
            lines.append(f"Remedy: {self.remedy}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the three fields, so that the error survives the way from a Python worker to the driver."""
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(cls: type[GsemError], what: str, where: str, remedy: str) -> GsemError:
    return cls(what, where=where, remedy=remedy)


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Name the place of errors of a block: functions of arrays know a ``K`` and an ``X``, who calls them knows the file."""
    try:
        yield
    except GsemError as error:
        raise type(error)(error.what, where=where, remedy=error.remedy) from None


class ConfigError(GsemError):
    """A setting, study file or command-line argument is wrong; nothing was read or computed."""

    exit_code = 2


class ContractError(GsemError):
    """A table does not have the schema that this version of gsem_spark reads or writes."""

    exit_code = 3


class DataError(GsemError):
    """An input file or table holds something that cannot be used."""

    exit_code = 4


class ModelError(GsemError):
    """A structural equation model is not identified, not parsable, or does not fit the traits given."""

    exit_code = 5


class ConvergenceError(GsemError):
    """A single (driver-side) fit did not reach its optimum. Per-SNP fits never raise: they carry a status."""

    exit_code = 6


class StorageError(GsemError):
    """A workspace or table cannot be read or written, or a commit was refused."""

    exit_code = 7


class GsemWarning(UserWarning):
    """Something a reader of the result must know, named with its numbers; recorded with the run."""
