from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from rich.console import Console
from support.factories import make_diverged, make_failed, make_not_run, make_outcome

from dnnbench.cli.shared.printer import Printer
from dnnbench.cli.views.download import download_view
from dnnbench.cli.views.live import LiveView
from dnnbench.cli.views.sweep import (
    LINE_INTERVAL_S,
    PlainView,
    QuietView,
    make_view,
)
from dnnbench.cli.views.trial import outcome_lines
from dnnbench.settings.schema import Config, SweepConfig, TrainConfig
from dnnbench.sweep.plan import Plan, make_plan
from dnnbench.sweep.progress import SweepProgress
from dnnbench.text.words import duration_text
from dnnbench.trial.messages import (
    EpochEnd,
    PortReserved,
    Progress,
    RoleFailed,
    ServerReady,
    Trained,
)
from dnnbench.trial.outcome import Failure
from dnnbench.trial.spec import DataSpec
from dnnbench.trial.tasks import task_names

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def plan_of(*nodes: int, repeats: int = 2, **train: Any) -> Plan:
    sweep = SweepConfig(nodes=nodes, repeats=repeats, protocols=("downpour",))
    config = Config(sweep=sweep, train=TrainConfig(**train))
    data = DataSpec("mnist", None, "d1", train_examples=55_000)
    return make_plan(config, data, "sweep-1", cores=2.0)


def progress_of(worker: int, step: int, epoch: int = 1) -> Progress:
    return Progress(
        task=f"worker:{worker}",
        epoch=epoch,
        step=step,
        steps_per_epoch=550,
        examples_per_s=12_345.6,
        loss=0.25,
    )


# --- time that is left ---------------------------------------------------------------------------


def test_before_any_trial_the_plan_says_what_is_left(clock: Clock) -> None:
    plan = plan_of(4, 12)
    sweep = SweepProgress(plan, plan.orders, clock)
    whole_s = plan.import_s + sum(plan.estimated_s.values())
    assert plan.import_s > 0
    assert sweep.remaining_s() == pytest.approx(whole_s)
    clock.now_s += plan.import_s / 2
    assert sweep.remaining_s() == pytest.approx(whole_s - plan.import_s / 2)
    resumed = SweepProgress(plan, plan.orders[1:], clock)
    assert (resumed.ended, resumed.total) == (1, 4)
    assert resumed.remaining_s() == pytest.approx(whole_s - plan.estimated_s[plan.orders[0].id])


def test_a_measured_trial_corrects_what_is_left(clock: Clock) -> None:
    plan = plan_of(4, 12)
    sweep = SweepProgress(plan, plan.orders, clock)
    first, *others = plan.orders
    sweep.trial_started(first)
    sweep.trial_ended(make_outcome(first, duration_s=3 * plan.estimated_s[first.id]))
    expected_s = 3 * sum(plan.estimated_s[order.id] for order in others)
    assert sweep.remaining_s() == pytest.approx(expected_s)


def test_a_model_that_was_never_measured_has_no_estimate_until_each_cell_has_run(
    clock: Clock,
) -> None:
    plan = msgspec.structs.replace(plan_of(4, 12, repeats=1), estimated_s={})
    sweep = SweepProgress(plan, plan.orders, clock)
    assert sweep.remaining_s() is None
    for order in plan.orders:
        sweep.trial_started(order)
        assert sweep.remaining_s() is None
        sweep.trial_ended(make_outcome(order, duration_s=10.0))
    assert sweep.remaining_s() == 0.0


def test_a_cells_own_trials_say_more_than_the_others(clock: Clock) -> None:
    plan = plan_of(4, 12)
    sweep = SweepProgress(plan, plan.orders, clock)
    for order in plan.orders[:2]:
        sweep.trial_ended(make_outcome(order, duration_s=float(order.nodes)))
    assert sweep.remaining_s() == pytest.approx(4 + 12)


def test_the_running_trial_counts_down_to_nothing_and_not_below(clock: Clock) -> None:
    plan = plan_of(4, 12)
    sweep = SweepProgress(plan, plan.orders, clock)
    whole_s = sum(plan.estimated_s.values())
    sweep.trial_started(plan.orders[0])
    clock.now_s += 1.5
    assert sweep.remaining_s() == pytest.approx(whole_s - 1.5)
    clock.now_s += 1e6
    assert sweep.remaining_s() == pytest.approx(whole_s - plan.estimated_s[plan.orders[0].id])


def test_a_failed_trial_is_counted_but_teaches_nothing_about_time(clock: Clock) -> None:
    plan = plan_of(4)
    sweep = SweepProgress(plan, plan.orders, clock)
    sweep.trial_ended(make_failed(plan.orders[0], duration_s=1e6))
    assert (sweep.ended, sweep.counts) == (1, {"failed": 1})
    assert sweep.remaining_s() == pytest.approx(plan.estimated_s[plan.orders[1].id])


def test_a_diverged_trial_is_no_failure_and_its_line_says_where(clock: Clock) -> None:
    plan = plan_of(4)
    sweep = SweepProgress(plan, plan.orders, clock)
    diverged = make_diverged(plan.orders[0])
    sweep.trial_ended(diverged)
    assert (sweep.ended, sweep.counts) == (1, {"diverged": 1})
    (line,) = outcome_lines(diverged)
    assert line == "diverged after 2 s: loss is not finite at step 12 of epoch 1 (worker:1)"


def test_a_trial_that_is_not_run_is_no_failure(clock: Clock) -> None:
    plan = plan_of(4)
    sweep = SweepProgress(plan, plan.orders, clock)
    sweep.trial_ended(make_not_run(plan.orders[0]))
    assert (sweep.ended, sweep.counts) == (1, {"not run": 1})


def test_a_trial_that_is_run_again_counts_once(clock: Clock) -> None:
    plan = plan_of(4)
    first = plan.orders[0]
    sweep = SweepProgress(plan, plan.orders, clock)
    sweep.trial_started(first)
    whole_s = sweep.remaining_s()
    sweep.trial_ended(make_failed(first))
    sweep.trial_started(first)
    assert (sweep.ended, sweep.counts) == (0, {})
    assert sweep.remaining_s() == whole_s
    sweep.trial_ended(make_outcome(first))
    assert (sweep.ended, sweep.counts) == (1, {})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (250, "4 min 10 s"), (7500, "2 h 05 min")],
)
def test_durations_are_written_as_precisely_as_one_waits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


# --- roles ---------------------------------------------------------------------------------------


def test_roles_follow_their_events(clock: Clock) -> None:
    plan = plan_of(4)
    order = plan.orders[0]
    sweep = SweepProgress(plan, plan.orders, clock)
    sweep.trial_started(order)
    trial = sweep.running[order.id]
    tasks = task_names(4, 1)
    for task in tasks:
        trial.event(PortReserved(task=task, pid=1, port=2))
        trial.event(ServerReady(task=task))
    assert [trial.roles[task].state for task in tasks] == ["serving", "ready", "ready", "ready"]
    record = make_outcome(order).epochs[0]
    trial.event(EpochEnd(task=record.task, record=record))
    trial.event(progress_of(worker=1, step=275, epoch=2))
    trial.event(RoleFailed(task="worker:2", cause="boom"))
    done = [role.done(order.epochs) for role in trial.workers]
    assert done == [0.5, 0.75, 0.0]
    assert trial.roles["worker:2"].state == "failed"
    trial.event(Trained(task="worker:0", updates_pushed=1100))
    assert trial.roles["worker:0"].state == "done"
    trial.event(PortReserved(task="worker:1", pid=3, port=4))
    assert trial.roles["worker:1"].done(order.epochs) == 0.0


# --- plain lines ---------------------------------------------------------------------------------


def test_plain_lines_are_few(clock: Clock) -> None:
    lines: list[str] = []
    plan = plan_of(4)
    order = plan.orders[0]
    with PlainView(lines.append, clock) as view:
        view.sweep_started(plan, plan.orders)
        view.phase("importing TensorFlow")
        view.trial_started(order)
        view.phase("training")
        for step in range(100):
            clock.now_s += LINE_INTERVAL_S / 40
            for worker in range(order.workers):
                view.event(order, progress_of(worker, step))
        view.trial_ended(make_outcome(order, 3.5))
    assert lines[1:3] == [
        "importing TensorFlow ...",
        "[1/2] n04-downpour-r01: downpour, 4 nodes (1 ps + 3 workers), repeat 1",
    ]
    assert [line for line in lines if "trained" in line] == lines[3:5]
    assert re.match(r"  3% trained, 37,037 examples/s, loss 0.2500; about \d+ s left", lines[3])
    assert lines[5] == "  ok in 12 s, 3.50 s/epoch, test accuracy 95.50%"
    assert [line.split() for line in lines[6:] if "--" not in line] == [
        ["Provisional", "mean", "seconds", "per", "epoch", "after", "1", "of", "2", "trials"],
        ["Nodes", "downpour"],
        ["4", "3.50"],
    ]


def test_plain_figures_come_with_the_smallest_clusters_and_then_once_per_round(
    clock: Clock,
) -> None:
    lines: list[str] = []
    plan = plan_of(4, 12)
    view = PlainView(lines.append, clock)
    view.sweep_started(plan, plan.orders)
    shown = []
    for order, epoch_s in zip(plan.orders, (3.5, 9.25, 4.5, 10.75), strict=True):
        before = len(lines)
        view.trial_ended(make_outcome(order, epoch_s))
        shown.append([line.split() for line in lines[before + 1 :] if line.lstrip()[0].isdigit()])
    assert [order.nodes for order in plan.orders[:2]] == [4, 12]
    assert shown[0] == [["4", "3.50"], ["12", "-"]]
    assert shown[1] == [["4", "3.50"], ["12", "9.25"]]
    assert shown[2:] == [[], []]  # the report follows the last round
    assert [line.strip() for line in lines if "mean" in line] == [
        "Provisional mean seconds per epoch after 1 of 4 trials",
        "Provisional mean seconds per epoch after 2 of 4 trials",
    ]


def test_a_resumed_sweep_shows_the_figures_of_its_own_trials(clock: Clock) -> None:
    lines: list[str] = []
    plan = plan_of(4, 12)
    view = PlainView(lines.append, clock)
    view.sweep_started(plan, plan.orders[1:])
    view.trial_ended(make_outcome(plan.orders[1], 9.25))
    assert "    Provisional mean seconds per epoch after 1 of 3 trials" in lines
    assert [line.split() for line in lines[-3:-1]] == [["4", "-"], ["12", "9.25"]]


def test_the_figures_of_a_sweep_are_printed_before_its_rehearsal(clock: Clock) -> None:
    lines: list[str] = []
    plan = plan_of(4, repeats=1)
    paced = plan_of(4, repeats=1, pace_ms=36.0, epoch_steps=55)
    view = PlainView(lines.append, clock)
    view.sweep_started(plan, plan.orders)
    view.trial_ended(make_outcome(plan.orders[0], 3.5))
    assert "mean" not in "".join(lines)
    view.sweep_started(paced, paced.orders)
    assert "    Mean seconds per epoch after 1 of 1 trial" in lines
    assert outcome_lines(make_outcome(paced.orders[0], 2.0)) == [
        "ok in 9 s, 20.00 s/epoch (paced), test accuracy 95.50%"
    ]


def test_a_trial_without_figures_adds_none(clock: Clock) -> None:
    lines: list[str] = []
    plan = plan_of(4, 12, repeats=2)
    view = PlainView(lines.append, clock)
    view.sweep_started(plan, plan.orders)
    view.trial_ended(make_failed(plan.orders[0]))
    assert "mean" not in "".join(lines)
    view.trial_ended(make_outcome(plan.orders[1], 9.25))
    assert [line.split() for line in lines[-3:-1]] == [["4", "-"], ["12", "9.25"]]


def test_a_failure_comes_with_its_place_cause_and_last_log_lines(clock: Clock) -> None:
    lines: list[str] = []
    plan = plan_of(4)
    view = PlainView(lines.append, clock)
    view.sweep_started(plan, plan.orders)
    log = [f"line {number}" for number in range(20)]
    failure = Failure("killed by\nsignal 9", "ps:0", "localhost", log)
    view.trial_ended(make_failed(plan.orders[0], failure=failure))
    assert lines[1] == "  failed after 2 s: ps:0 on localhost: killed by signal 9"
    assert lines[2:] == [f"    | line {number}" for number in range(15, 20)]


def test_a_trial_that_is_not_run_is_a_line_with_host_and_cause(clock: Clock) -> None:
    lines: list[str] = []
    plan = plan_of(4)
    view = PlainView(lines.append, clock)
    view.sweep_started(plan, plan.orders)
    view.notice("node12: connection refused; start sshd there")
    view.trial_ended(make_not_run(plan.orders[0]))
    assert lines[1:] == [
        "note: node12: connection refused; start sshd there",
        "[1/2] n04-downpour-r01",
        "  not run: node12: connection refused",
    ]


# --- the live view -------------------------------------------------------------------------------


def live_view(
    clock: Clock, nodes: int, width: int = 80, height: int = 24, **options: Any
) -> tuple[LiveView, Console]:
    """Return a view in the middle of a trial, and the terminal it draws on."""
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, **options
    )
    printer = Printer()
    printer.__dict__["err"] = console
    plan = plan_of(nodes)
    order = plan.orders[0]
    view = LiveView(printer, clock)
    view.sweep_started(plan, plan.orders)
    view.trial_started(order)
    view.phase("training")
    clock.now_s += 3
    for worker in range(order.workers):
        view.event(order, progress_of(worker, 100 + worker))
    return view, console


def drawn(view: LiveView, console: Console) -> str:
    with console.capture() as capture:
        console.print(view.render())
    return capture.get()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_twelve_nodes_fit_the_screen_with_room_for_what_ended(
    clock: Clock, width: int, height: int
) -> None:
    view, console = live_view(clock, 12, width, height)
    lines = plain(drawn(view, console)).splitlines()
    assert len(lines) <= height - 4
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "0 of 2 trials" in lines[0]
    assert re.search(r"3 s, about .* left", lines[0])
    assert lines[1].strip() == (
        "n12-downpour-r01  downpour, 12 nodes (1 ps + 11 workers), repeat 1"
    )
    assert lines[2].strip() == "training 3 s"
    for worker in range(11):
        assert re.search(rf"worker:{worker} .* 1/2 .* {100 + worker}/550 +12,346 +0.2500", text)
    assert re.search(r"workers .* 135,802 +0.2500", lines[-1])


def test_more_roles_than_fit_are_counted(clock: Clock) -> None:
    view, console = live_view(clock, 40)
    lines = plain(drawn(view, console)).splitlines()
    assert len(lines) <= 20
    shown = sum(line.startswith(("ps:", "worker:")) for line in lines)
    assert f"and {40 - shown} more" in lines[-2]


@pytest.mark.parametrize(("width", "height"), [(50, 15), (20, 5)])
def test_a_small_terminal_cuts_and_does_not_break(clock: Clock, width: int, height: int) -> None:
    view, console = live_view(clock, 12, width, height)
    assert max(map(len, plain(drawn(view, console)).splitlines())) <= width


def test_trials_side_by_side_have_a_line_each(clock: Clock) -> None:
    view, console = live_view(clock, 4)
    assert view.sweep
    first, second = view.sweep.plan.orders
    view.trial_started(second)
    view.event(second, progress_of(0, 55))
    lines = plain(drawn(view, console)).splitlines()
    assert "n04-downpour-r01  9% trained, 37,037 examples/s, loss 0.2500" in lines[2]
    assert "n04-downpour-r02  2% trained, 12,346 examples/s, loss 0.2500" in lines[3]
    view.trial_ended(make_outcome(first))
    assert "worker:2" in plain(drawn(view, console))


def test_plain_lines_name_the_trial_when_several_run(clock: Clock) -> None:
    lines: list[str] = []
    plan = msgspec.structs.replace(plan_of(4), parallel=2)
    first, second = plan.orders
    with PlainView(lines.append, clock) as view:
        view.sweep_started(plan, plan.orders)
        for order in plan.orders:
            view.trial_started(order)
        clock.now_s += LINE_INTERVAL_S
        view.event(second, progress_of(0, 55))
        view.trial_ended(make_outcome(first, 3.5))
    assert [line.partition(":")[0] for line in lines[1:] if "downpour-r" in line] == [
        "[1/2] n04-downpour-r01",
        "[2/2] n04-downpour-r02",
        "  n04-downpour-r02",
        "  n04-downpour-r01",
    ]


def test_no_color_is_respected(clock: Clock) -> None:
    colored = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    options: dict[str, Any] = {"color_system": "256"}
    view, console = live_view(clock, 4, **options)
    assert colored.search(drawn(view, console))
    view, console = live_view(clock, 4, **options, _environ={"NO_COLOR": "1"})
    assert not colored.search(drawn(view, console))


def test_the_live_view_keeps_what_the_user_should_know(clock: Clock) -> None:
    view, console = live_view(clock, 4)
    assert view.sweep
    first, second = view.sweep.plan.orders
    with view:
        view.notice("node12: [connection] refused")
        view.trial_ended(make_failed(first))
        view.trial_ended(make_not_run(second))
    assert isinstance(console.file, io.StringIO)
    text = plain(console.file.getvalue())
    assert "note: node12: [connection] refused" in text
    assert "n04-downpour-r02  not run: node12: connection refused" in text
    assert "2 of 2 trials, 1 failed, 1 not run" in plain(drawn(view, console))


def test_what_ended_stays_on_the_screen_and_the_view_does_not(clock: Clock) -> None:
    view, console = live_view(clock, 4)
    assert view.sweep
    order = view.sweep.plan.orders[0]
    with view:
        view.trial_ended(make_outcome(order, 3.5))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "n04-downpour-r01  ok in 12 s, 3.50 s/epoch, test accuracy 95.50%" in plain(text)
    # The last thing is to take the view back: up, and erase, for each of its lines.
    assert re.search(r"(\x1b\[1A\x1b\[2K)+$", text)


# --- which view ----------------------------------------------------------------------------------


def test_the_view_suits_the_terminal_and_quiet_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printer = Printer()
    assert type(make_view(printer)) is PlainView
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert type(make_view(printer)) is LiveView
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_view(Printer())) is PlainView
    printer.quiet = True
    view = make_view(printer)
    assert type(view) is QuietView
    plan = plan_of(4)
    with view:
        view.sweep_started(plan, plan.orders)
        view.phase("importing TensorFlow")
        view.trial_started(plan.orders[0])
        view.event(plan.orders[0], progress_of(0, 10))
        view.trial_ended(make_outcome(plan.orders[0]))
    assert capsys.readouterr() == ("", "")


def test_a_download_is_a_line_a_file_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report: Callable[[str, int, int], None]
    with download_view(Printer()) as report:
        for done_bytes in (0, 1_000_000, 2_000_000):
            report("images", done_bytes, 11_500_000)
        report("labels", 2_000_000, 11_500_000)
    assert capsys.readouterr().err.splitlines() == [
        "downloading images (the data set is 11.5 MB)",
        "downloading labels (the data set is 11.5 MB)",
    ]


def test_a_download_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    printer = Printer()
    file = io.StringIO()
    printer.__dict__["err"] = Console(file=file, force_terminal=True, width=80)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with download_view(printer) as report:
        report("images", 5_000_000, 10_000_000)
        report("labels", 10_000_000, 10_000_000)
    text = plain(file.getvalue())
    assert "downloading labels" in text
    assert "10.0/10.0 MB" in text
