"""The figures of every trial, read from the stored sweeps and kept in one small file."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import msgspec

from benchmarks.processes import BenchmarkError
from dnnbench.analysis.stats import mean, merge_counts
from dnnbench.analysis.trial_figures import measure
from dnnbench.sweep.documents import write_whole
from dnnbench.sweep.results import sweep_names
from dnnbench.sweep.store import SweepStore
from dnnbench.trial.outcome import Staleness

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dnnbench.sweep.store import Session
    from dnnbench.trial.machine import MachineSnapshot
    from dnnbench.trial.outcome import TrialOutcome

Result = Literal["ok", "did not learn", "diverged"]
_DIGITS = 6
"""Significant digits that are kept; one example of 10,000 is 0.01 points of test error."""


class Trial(msgspec.Struct, frozen=True, array_like=True):
    """One trial. A list has one entry per pass over the training examples.

    Attributes:
        nodes: 1 for ``sequential``.
        seed: of the sweep; trials with equal seeds start from the same parameters.
        result: ``did not learn`` as dnnbench's reports have it: accuracy of chance, or a loss that
            ended above that of the first step.
        test_error: of the final parameters, in percent; None if diverged.
        validation_error: likewise.
        errors: test error in percent when ``worker:0`` had ended the pass.
        seconds: from the start of the training until then.
        cpu_s: CPU seconds of all workers and parameter servers for the pass and those before it.
        staleness: mean of all updates.
        compensation: mean norm of the compensation over that of the gradient; None if there is none
            or it could not be measured.
    """

    dataset: str
    nodes: int
    protocol: str
    rate: float
    seed: int
    result: Result
    test_error: float | None
    validation_error: float | None
    errors: list[float]
    seconds: list[float]
    cpu_s: list[float]
    staleness: float
    staleness_p95: int
    staleness_max: int
    compensation: float | None


class Conditions(msgspec.Struct, frozen=True):
    """Facts common to all trials.

    Attributes:
        load_average: smallest and largest of one minute, before and after the sweeps.
        commits: of dnnbench, oldest first.
        unfinished: executions that failed or were interrupted, and are still to be unfinished.
    """

    passes: int
    batch_size: int
    first_at: str
    last_at: str
    cpu_model: str
    cores: float
    kernel: str
    versions: dict[str, str]
    commits: list[str]
    load_average: tuple[float, float]
    unfinished: int


class Figures(msgspec.Struct, frozen=True):
    """The figures of the experiment.

    Attributes:
        columns: names of the fields of a trial, which is stored as a list.
    """

    conditions: Conditions
    columns: list[str]
    trials: list[Trial]


def collect(results_dir: Path) -> Figures:
    """Read all sweeps of the experiment.

    Raises:
        BenchmarkError: no trial has a result, or sweeps differ in more than rate, nodes and seed.
        ResultsError: a sweep is damaged.
    """
    trials: list[Trial] = []
    started: list[str] = []
    sessions: list[Session] = []
    settings: dict[tuple[int, int, str], str] = {}
    failed = 0
    for name in sweep_names(results_dir):
        store = SweepStore(results_dir / name)
        outcomes = store.outcomes()
        seed = store.resolved.config.sweep.seed
        for outcome in outcomes:
            spec = outcome.order
            settings.setdefault((spec.epochs, spec.batch_size, spec.epoch_definition), name)
            if outcome.status in ("ok", "diverged"):
                trials.append(_trial(outcome, seed))
                started.append(outcome.started_at)
            else:
                failed += 1
        sessions += store.sessions()
    if not trials:
        raise BenchmarkError(f"{results_dir} has no trial with a result")
    if len(settings) > 1:
        raise BenchmarkError(
            f"{results_dir} mixes settings (epochs, batch, epoch definition): "
            + ", ".join(f"{values} in {name}" for values, name in settings.items())
        )
    ((passes, batch_size, _),) = settings
    trials.sort(key=lambda t: (t.dataset, t.nodes, t.protocol, t.rate, t.seed))
    conditions = _conditions(passes, batch_size, sorted(started), sessions, failed)
    return Figures(conditions, list(Trial.__struct_fields__), trials)


def _conditions(
    passes: int, batch_size: int, started: list[str], sessions: list[Session], failed: int
) -> Conditions:
    sessions = sorted(sessions, key=lambda session: session.before.taken_at)
    machine: MachineSnapshot = sessions[-1].before
    loads = [session.before.load_average[0] for session in sessions]
    loads += [session.load_after[0] for session in sessions if session.load_after]
    hosts = [host for session in sessions for host in session.hosts.values()]
    versions = (hosts[-1] if hosts else machine).versions
    return Conditions(
        passes=passes,
        batch_size=batch_size,
        first_at=started[0],
        last_at=started[-1],
        cpu_model=machine.cpu_model,
        cores=machine.cores_usable,
        kernel=machine.kernel,
        versions={"Python": machine.python, **{k: v for k, v in versions.items() if v}},
        commits=list(dict.fromkeys(str(session.before.git_commit) for session in sessions)),
        load_average=(min(loads), max(loads)),
        unfinished=failed,
    )


def _trial(outcome: TrialOutcome, seed: int) -> Trial:
    """Condense an outcome."""
    spec, records = outcome.order, outcome.epochs
    result: Result = "diverged"
    if outcome.status == "ok":
        result = "did not learn" if measure(outcome).not_learned else "ok"
    final = [e for e in outcome.evaluations if e.epoch is None]
    by_pass = {e.epoch: e.test_accuracy for e in outcome.evaluations if e.epoch is not None}
    passes = sorted(by_pass) if result != "diverged" else []
    first = {r.epoch: r.duration_s for r in records if r.task == "worker:0"}
    cpu_s = {
        number: sum(r.cpu_s + r.parameter_server_cpu_s for r in records if r.epoch == number)
        for number in passes
    }
    staleness = Staleness(merge_counts(record.staleness.counts for record in records))
    ratios = [r.compensation_ratio for r in records if r.compensation_ratio is not None]
    return Trial(
        dataset=spec.data.name,
        nodes=spec.nodes,
        protocol=spec.protocol.name,
        rate=spec.protocol.learning_rate,
        seed=seed,
        result=result,
        test_error=_percent_wrong(final[0].test_accuracy) if final else None,
        validation_error=_percent_wrong(final[0].validation_accuracy) if final else None,
        errors=[_percent_wrong(by_pass[number]) for number in passes],
        seconds=_rounded(accumulate(first[number] for number in passes)),
        cpu_s=_rounded(accumulate(cpu_s[number] for number in passes)),
        staleness=_round(staleness.mean),
        staleness_p95=staleness.percentile(95),
        staleness_max=staleness.percentile(100),
        compensation=_round(mean(ratios)) if ratios else None,
    )


def _percent_wrong(accuracy: float) -> float:
    return _round(100.0 * (1.0 - accuracy))


def _rounded(values: Iterable[float]) -> list[float]:
    return [_round(value) for value in values]


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def write(figures: Figures, path: Path) -> None:
    """Write the figures as JSON, one line per trial."""
    conditions = msgspec.json.encode(figures.conditions).decode()
    columns = msgspec.json.encode(figures.columns).decode()
    lines = ",\n".join(msgspec.json.encode(trial).decode() for trial in figures.trials)
    text = f'{{"conditions":{conditions},\n"columns":{columns},\n"trials":[\n{lines}\n]}}\n'
    write_whole(path, text.encode())


def read(path: Path) -> Figures:
    """Read what `write` wrote.

    Raises:
        BenchmarkError: it cannot be read, or has other columns.
    """
    try:
        figures = msgspec.json.decode(path.read_bytes(), type=Figures)
    except (OSError, msgspec.DecodeError) as error:
        raise BenchmarkError(f"{path}: {error}; write it with `collect`") from None
    if figures.columns != list(Trial.__struct_fields__):
        raise BenchmarkError(f"{path}: has other columns; write it again with `collect`")
    return figures
