"""Limits on the hours and the cost of a run: a trial that would end past one is not started."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from dnnbench.errors import LimitError
from dnnbench.text.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import CellKey, TrialSpec


class Limit(NamedTuple):
    """One limit.

    Attributes:
        name: for the user, such as ``--max-hours 2``.
        is_past: seconds after the run began -> whether the limit is exceeded then.
    """

    name: str
    is_past: Callable[[float], bool]


class Limits:
    """The limits of one run of a sweep, which begins when this is made.

    Attributes:
        refusal: of the first trial that would have ended past a limit; None if there was none.
    """

    def __init__(self, limits: Sequence[Limit], estimated_s: Mapping[str, float]) -> None:
        self.refusal: LimitError | None = None
        self._limits = limits
        self._estimated_s = estimated_s
        self._ended_s: defaultdict[CellKey, list[float]] = defaultdict(list)
        self._start_s = time.monotonic()

    def note(self, outcome: TrialOutcome) -> None:
        """Take the outcome of a trial."""
        self._ended_s[outcome.order.cell].append(outcome.duration_s)

    def admits(self, spec: TrialSpec) -> bool:
        """Return whether a trial may start: whether it is expected to end within every limit.

        It is expected to take as long as those of its cell that have ended, or else as estimated; a
        trial of which nothing is known is started. After one refusal, none is.
        """
        elapsed_s = time.monotonic() - self._start_s
        alike_s = self._ended_s[spec.cell]
        estimate_s = self._estimated_s.get(spec.id, 0.0)
        expected_s = sum(alike_s) / len(alike_s) if alike_s else estimate_s
        for limit in self._limits:
            if self.refusal is None and limit.is_past(elapsed_s + expected_s):
                self.refusal = LimitError(
                    f"not started, as it would end past {limit.name}: {duration_text(elapsed_s)} "
                    f"have passed, and it is expected to take {duration_text(expected_s)}",
                    where=spec.id,
                    remedy="run the rest with `dnnbench run --resume`, which may have limits of "
                    "its own",
                )
        return self.refusal is None
