"""The one error tree: fields, words and exit codes in one place.

Every error a user can cause or cure is a :class:`DnnbenchError`. It prints as one line,
``where: problem; remedy``, and ends the program with ``exit_code``. Anything else that reaches the
command line is a bug and ends with 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

EXIT_OK = 0
EXIT_BUG = 1
EXIT_INTERRUPTED = 130


class DnnbenchError(Exception):
    """A failure with one clear line.

    Attributes:
        problem: what was expected and what was found.
        where: file, key, line, host or task; None where there is no such place.
        remedy: what to do about it; None where the problem says it all.
    """

    exit_code = EXIT_BUG

    def __init__(
        self, problem: str, *, where: str | None = None, remedy: str | None = None
    ) -> None:
        self.problem = problem
        self.where = where
        self.remedy = remedy
        super().__init__(problem)

    def __str__(self) -> str:
        line = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{line}; {self.remedy}" if self.remedy else line


class ConfigError(DnnbenchError):
    """An option, an environment variable, dnnbench.toml or a price book cannot be used as given."""

    exit_code = 2


class DataError(DnnbenchError):
    """A data set is missing, damaged, or not what its name says."""

    exit_code = 3


class ResultsError(DnnbenchError):
    """Stored results are missing, damaged, or of another version."""

    exit_code = 3


class TrialError(DnnbenchError):
    """One or more trials did not finish; what finished is stored."""

    exit_code = 4


class HostError(DnnbenchError):
    """A host or its agent cannot be reached, started or kept."""

    exit_code = 5


def nearest(name: str, known: Iterable[str], *, after: str = "") -> str | None:
    """Ask whether the most similar of the known names was meant: a remedy; None if none is similar.

    Args:
        name: that is not known.
        known: names.
        after: a beginning that all names have, which does not make them similar.
    """
    import difflib  # takes longer than a command without an error should wait for it

    rests = [other.removeprefix(after) for other in known]
    close = difflib.get_close_matches(name.removeprefix(after), rests, n=1)
    return f"did you mean {after}{close[0]}?" if close else None
