"""Cells of the experiment, and tests whether a protocol differs from Downpour.

A trial that diverged or did not learn has no error that could be averaged. To leave it out would
favor the protocol that loses its worst trials, so a comparison with such trials ranks them last
instead, as does one of few trials. Any other is Welch's t test. Each family of tests is corrected
after Holm.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmarks.convergence.experiment import PROTOCOLS, SEQUENTIAL
from benchmarks.convergence.significance import holm, rank_test
from dnnbench.analysis.stats import Estimate, estimate, mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.convergence.trials import Result, Trial

BASELINE = "downpour"
ASYNCHRONOUS = ("dc-sgd-c", "dc-sgd-a", "staleness-aware")
"""Compared with the baseline at every rate: they take as many updates as it does."""
COMPENSATED = ("dc-sgd-c", "dc-sgd-a")
LEVEL = 0.05
_SPREAD = 3
"""Fewest trials of a cell from which a variance is estimated for a test."""

Verdict = Literal["lower error", "higher error", "no difference shown", "neither learns"]
Effect = Literal[
    "keeps trials that Downpour loses",
    "lower error",
    "no difference shown",
    "higher error",
    "loses trials that Downpour keeps",
    "neither learns",
]


class Key(NamedTuple):
    """What the trials of a cell have in common."""

    dataset: str
    nodes: int
    protocol: str
    rate: float


class Cell(NamedTuple):
    """All trials of a protocol at a node count and learning rate, one per seed."""

    key: Key
    trials: tuple[Trial, ...]

    @property
    def learned(self) -> list[Trial]:
        """The trials that are averaged."""
        return [trial for trial in self.trials if trial.result == "ok"]

    @property
    def all_learned(self) -> bool:
        """Whether no trial was lost to divergence."""
        return len(self.learned) == len(self.trials)

    @property
    def share_learned(self) -> float:
        """Share of the trials that learned."""
        return len(self.learned) / len(self.trials)

    @property
    def counts(self) -> Counter[Result]:
        """How many trials had which result."""
        return Counter(trial.result for trial in self.trials)

    @property
    def error(self) -> Estimate | None:
        """Final test error in percent, of the trials that learned."""
        return estimate([t.test_error for t in self.learned if t.test_error is not None])

    @property
    def validation_error(self) -> float:
        """Mean validation error in percent; infinite if a trial was lost."""
        found = [t.validation_error for t in self.learned if t.validation_error is not None]
        return mean(found) if found and self.all_learned else math.inf

    def passes_to(self, target: float) -> list[int | None]:
        """Return for each trial the first pass after which it reached a test error; None: none."""
        return [
            next((n for n, error in enumerate(trial.errors, start=1) if error <= target), None)
            for trial in self.trials
        ]


class Cells:
    """The cells of the experiment."""

    def __init__(self, trials: Iterable[Trial]) -> None:
        found: dict[Key, list[Trial]] = defaultdict(list)
        for trial in trials:
            found[Key(trial.dataset, trial.nodes, trial.protocol, trial.rate)].append(trial)
        self._cells = {key: Cell(key, tuple(trials)) for key, trials in found.items()}
        compared = {key.dataset for key in found if key.protocol != SEQUENTIAL}
        self.datasets = sorted(compared, key=_mnist_first)
        self.protocols = [p for p in PROTOCOLS if p in {key.protocol for key in found}]

    def nodes(self, dataset: str) -> list[int]:
        """Return the node counts of a data set, ascending, without that of ``sequential``."""
        return sorted(
            {k.nodes for k in self._cells if k.dataset == dataset and k.protocol != SEQUENTIAL}
        )

    def rates(self, dataset: str, nodes: int) -> list[float]:
        """Return the learning rates tried at a node count, ascending."""
        return sorted(
            {key.rate for key in self._cells if (key.dataset, key.nodes) == (dataset, nodes)}
        )

    def rates_of(self, dataset: str, nodes: int, protocol: str) -> list[float]:
        """Return those of a protocol, for ``sequential`` at any node count all of its own."""
        at = 1 if protocol == SEQUENTIAL else nodes
        return sorted(k.rate for k in self._cells if k[:3] == (dataset, at, protocol))

    def get(self, dataset: str, nodes: int, protocol: str, rate: float) -> Cell | None:
        """Return a cell, for ``sequential`` that of its one node; None if it has no trial."""
        at = 1 if protocol == SEQUENTIAL else nodes
        return self._cells.get(Key(dataset, at, protocol, rate))

    def best(self, dataset: str, nodes: int, protocol: str) -> Cell | None:
        """Return the cell of the rate with the smallest validation error; all trials learned."""
        rates = self.rates_of(dataset, nodes, protocol)
        cells = [self.get(dataset, nodes, protocol, rate) for rate in rates]
        usable = [cell for cell in cells if cell and cell.validation_error < math.inf]
        return min(usable, key=lambda cell: cell.validation_error, default=None)


def _mnist_first(dataset: str) -> tuple[bool, str]:
    return dataset != "mnist", dataset


class Comparison(NamedTuple):
    """A protocol against another one.

    Attributes:
        method: ``none`` if no trial of either side learned.
        difference: mean error of ours less theirs, in points; None if a trial of either was lost.
        low, high: its 95 % interval (Welch); None if there is none.
        p: of the test, not corrected; 1 if there was no test.
        adjusted: after Holm.
    """

    ours: Cell
    theirs: Cell
    method: Literal["welch", "ranks", "none"]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    better: bool = False
    p: float = 1.0
    adjusted: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """The conclusion at the level of 5 %."""
        if self.method == "none":
            return "neither learns"
        if self.adjusted > LEVEL:
            return "no difference shown"
        return "lower error" if self.better else "higher error"

    @property
    def effect(self) -> Effect:
        """The conclusion, or which side lost fewer trials, whether or not a test can show it."""
        kept, base = self.ours.share_learned, self.theirs.share_learned
        if self.method == "none" or kept == base:
            return self.verdict
        return (
            "keeps trials that Downpour loses"
            if kept > base
            else "loses trials that Downpour keeps"
        )


def compare(ours: Cell, theirs: Cell) -> Comparison:
    """Test whether two cells differ in final test error."""
    a, b = (_errors(cell) for cell in (ours, theirs))
    if not ours.learned and not theirs.learned:
        return Comparison(ours, theirs, "none")
    if ours.all_learned and theirs.all_learned:
        difference = mean(a) - mean(b)
        if min(len(a), len(b)) >= _SPREAD and min(len({*a}), len({*b})) > 1:
            return _welch(ours, theirs, difference)
    else:
        difference = None
    p, better = rank_test([(a, b)])
    return Comparison(ours, theirs, "ranks", difference, better=better, p=p)


def _welch(ours: Cell, theirs: Cell, difference: float) -> Comparison:
    from scipy import stats

    test = stats.ttest_ind(_errors(ours), _errors(theirs), equal_var=False)
    interval = test.confidence_interval()
    return Comparison(
        ours=ours,
        theirs=theirs,
        method="welch",
        difference=difference,
        low=float(interval.low),
        high=float(interval.high),
        better=difference < 0,
        p=float(test.pvalue),
    )


def _errors(cell: Cell) -> list[float]:
    """Return the error of each trial; infinite if it diverged or did not learn."""
    return [
        t.test_error if t.result == "ok" and t.test_error is not None else math.inf
        for t in cell.trials
    ]


def corrected(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Correct a family of tests; a comparison without a test is not one of them."""
    family = list(comparisons)
    tested = [c.p for c in family if c.method != "none"]
    adjusted = iter(holm(tested))
    return [c if c.method == "none" else c._replace(adjusted=next(adjusted)) for c in family]


def at_every_rate(cells: Cells, dataset: str) -> list[Comparison]:
    """Compare the asynchronous protocols with the baseline at every rate: one family."""
    pairs = [
        (
            cells.get(dataset, nodes, protocol, rate),
            cells.get(dataset, nodes, BASELINE, rate),
        )
        for nodes in cells.nodes(dataset)
        for protocol in ASYNCHRONOUS
        for rate in cells.rates(dataset, nodes)
    ]
    return corrected(compare(ours, theirs) for ours, theirs in pairs if ours and theirs)


def at_best_rates(cells: Cells, dataset: str) -> list[Comparison]:
    """Compare every protocol with the baseline, each at its own best rate: one family."""
    pairs = [
        (cells.best(dataset, nodes, protocol), cells.best(dataset, nodes, BASELINE))
        for nodes in cells.nodes(dataset)
        for protocol in cells.protocols
        if protocol != BASELINE
    ]
    return corrected(compare(ours, theirs) for ours, theirs in pairs if ours and theirs)


def of_pair(
    comparisons: Iterable[Comparison], ours: Cell, theirs: Cell | None
) -> Comparison | None:
    """Return the comparison of two cells; that of ``sequential`` is one per node count."""
    return next((c for c in comparisons if c.ours == ours and c.theirs == theirs), None)


class Pooled(NamedTuple):
    """A protocol against the baseline over all rates of a node count.

    Attributes:
        rates: those at which a trial of either side learned.
        p: of the rank test, not corrected.
        adjusted: after Holm.
    """

    nodes: int
    protocol: str
    rates: list[float]
    better: bool
    p: float
    adjusted: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """The conclusion at the level of 5 %."""
        if self.adjusted > LEVEL:
            return "no difference shown"
        return "lower error" if self.better else "higher error"


def over_all_rates(cells: Cells, dataset: str) -> list[Pooled]:
    """Compare the asynchronous protocols with the baseline, rates pooled: one family."""
    pooled = []
    for (nodes, protocol), comparisons in _by_protocol(cells, dataset).items():
        tested = [c for c in comparisons if c.method != "none"]
        if tested:
            p, better = rank_test((_errors(c.ours), _errors(c.theirs)) for c in tested)
            rates = [c.ours.key.rate for c in tested]
            pooled.append(Pooled(nodes, protocol, rates, better, p))
    adjusted = holm([one.p for one in pooled])
    return [one._replace(adjusted=p) for one, p in zip(pooled, adjusted, strict=True)]


class Kept(NamedTuple):
    """How many trials of a protocol learned, over all rates of a node count, against the baseline.

    Attributes:
        p: of the exact test, not corrected.
        adjusted: after Holm.
    """

    nodes: int
    protocol: str
    ours: int
    theirs: int
    trials: int
    p: float
    adjusted: float = 1.0

    @property
    def verdict(self) -> Literal["more learned", "fewer learned", "no difference shown"]:
        """The conclusion at the level of 5 %."""
        if self.adjusted > LEVEL:
            return "no difference shown"
        return "more learned" if self.ours > self.theirs else "fewer learned"


def kept_over_all_rates(cells: Cells, dataset: str) -> list[Kept]:
    """Count the trials that learned under the asynchronous protocols, and test: one family.

    Ranks of two values are counts: this is the exact permutation test of a 2 by 2 table per rate.
    """
    found = []
    for (nodes, protocol), comparisons in _by_protocol(cells, dataset).items():
        p, _ = rank_test((_lost(c.ours), _lost(c.theirs)) for c in comparisons)
        ours, theirs = (
            sum(len(cell.learned) for cell in side)
            for side in zip(*((c.ours, c.theirs) for c in comparisons), strict=True)
        )
        trials = sum(len(c.ours.trials) for c in comparisons)
        found.append(Kept(nodes, protocol, ours, theirs, trials, p))
    adjusted = holm([one.p for one in found])
    return [one._replace(adjusted=p) for one, p in zip(found, adjusted, strict=True)]


def _by_protocol(cells: Cells, dataset: str) -> dict[tuple[int, str], list[Comparison]]:
    at_rates: dict[tuple[int, str], list[Comparison]] = defaultdict(list)
    for comparison in at_every_rate(cells, dataset):
        key = comparison.ours.key
        at_rates[key.nodes, key.protocol].append(comparison)
    return at_rates


def _lost(cell: Cell) -> list[float]:
    return [float(trial.result != "ok") for trial in cell.trials]


def stable_up_to(cells: Cells, dataset: str, nodes: int, protocol: str) -> float | None:
    """Return the largest rate up to which, at every smaller one tried too, all trials learned."""
    largest = None
    for rate in cells.rates_of(dataset, nodes, protocol):
        cell = cells.get(dataset, nodes, protocol, rate)
        if cell and not cell.all_learned:
            break
        largest = rate
    return largest
