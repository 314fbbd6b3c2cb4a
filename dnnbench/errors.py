"""The one error tree: fields, words and exit codes in one place.

Every error a user can cause or cure is a :class:`DnnbenchError`. It prints as one line,
``where: problem; remedy``, and ends the program with ``exit_code``. Anything else that reaches the
command line is a bug and ends with 1.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self

CauseKind = Literal[
    "ssh-unreachable",
    "ssh-auth",
    "host-key",
    "disconnected",
    "port",
    "out-of-memory",
    "disk-full",
    "illegal-instruction",
    "crashed",
    "stalled",
    "data",
    "version",
]
"""Kinds of causes of failures, for programs that read results; the cause itself is for people."""

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
    """One or more trials did not finish; those that did are stored."""

    exit_code = 4


class HostError(DnnbenchError):
    """A host or its agent cannot be reached, started or kept.

    Attributes:
        kind: of the cause; None where it is of no kind.
    """

    exit_code = 5
    kind: CauseKind | None = None

    def of_kind(self, kind: CauseKind | None) -> Self:
        """Return this error, of this kind unless it is of one already."""
        self.kind = self.kind or kind
        return self


@contextmanager
def host_errors_of_kind(kind: CauseKind) -> Iterator[None]:
    """Give the block's host errors a kind, unless they are of one already."""
    try:
        yield
    except HostError as error:
        error.of_kind(kind)
        raise


class LimitError(DnnbenchError):
    """A limit on time or cost was reached between two trials; those that ended are stored."""

    exit_code = 6


class RegressionError(DnnbenchError):
    """A sweep is worse than another one by more than was allowed."""

    exit_code = 7


def nearest(name: str, known: Iterable[str], *, after: str = "") -> str | None:
    """Return a remedy that suggests the most similar known name; None if none is similar.

    Args:
        name: the unknown name.
        known: the valid names.
        after: a prefix that all names have; ignored in the comparison.
    """
    import difflib  # slow to import, and only errors need it

    rests = [other.removeprefix(after) for other in known]
    close = difflib.get_close_matches(name.removeprefix(after), rests, n=1)
    return f"did you mean {after}{close[0]}?" if close else None
