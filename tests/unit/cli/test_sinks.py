"""Text from outside, at every place that shows it: nothing acts, adds a line, or is markup."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from rich.console import Console
from support.factories import make_context, make_failed, make_not_run, make_order, make_sweep
from support.page import Page

from dnnbench.analysis.analyse import Analysis, analyse
from dnnbench.cli import main, status, stop
from dnnbench.cli.shared.printer import Printer
from dnnbench.cli.views import plan as plan_view
from dnnbench.cli.views import provision as provision_view
from dnnbench.cli.views.live import LiveView
from dnnbench.cli.views.sweep import PlainView
from dnnbench.cost import basis_of_own_hardware, cost_of_sweep, plans_within, table_1
from dnnbench.cost import export as cost_export
from dnnbench.cost import render as cost_render
from dnnbench.errors import HostError
from dnnbench.hosts.agents.clusters import Ended, Leftover, Part
from dnnbench.hosts.provision.steps import Removed, Step
from dnnbench.report import export, markdown, page, terminal
from dnnbench.report.figures.drawing import FIGURES
from dnnbench.report.figures.picture import Subject
from dnnbench.report.files import write_figure
from dnnbench.report.rows.table import ROWS, as_csv
from dnnbench.settings.schema import Config
from dnnbench.sweep.plan import make_plan
from dnnbench.text.screen import Screen
from dnnbench.text.tables import (
    Column,
    Table,
    fields_markdown,
    fields_text,
    table_markdown,
    table_text,
)
from dnnbench.trial.spec import DataSpec

if TYPE_CHECKING:
    from dnnbench.trial.outcome import TrialOutcome

FORGED = "error: forged"
NASTY = {
    "clear screen": "a\x1b[2Jb",
    "C1 control": "a\x9b2Jb",
    "title of the window": "a\x1b]0;owned\x07b",
    "carriage return": f"a\r{FORGED}",
    "line": f"a\n{FORGED}",
    "line separator": f"a\u2028{FORGED}",
    "NUL": "a\x00b",
    "right to left": "a\u202eb",
    "zero width": "a\u200bb",
    "rich markup": "[red]a[/red] [/] :smile:",
    "Markdown": "a | b `c` **d** [e](http://f) ![g](http://h)",
    "HTML": "<script>a</script> &lt;b <!--",
    "formula": "=HYPERLINK(1)",
    "mathtext": "a $\\frac{$ b",
    "login": "see https://bob:PASSWORD@host/simple",
}
SCREEN = Screen(200)
nasty = pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for name, text in NASTY.items()]
)


def check(shown: str) -> None:
    """Fail where something acts, stands on a line of its own, or is a secret."""
    acting = [s for s in shown if unicodedata.category(s) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert set(acting) <= {"\n"}
    assert not [line for line in shown.split("\n") if line.lstrip(" |>-").startswith(FORGED)]
    assert "PASSWORD" not in shown


def check_markdown(shown: str) -> None:
    check(shown)
    assert not re.search(r"<(?!br>)|(?<!\\)\]\(http|&(?!lt;|amp;)", shown)
    for block in re.findall(r"(?:^\|.*\n?)+", shown, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


FEW = ("clear screen", "line", "HTML", "mathtext", "login")
"""Texts for what takes long to draw."""


def outcomes_of(text: str) -> list[TrialOutcome]:
    """Return a sweep in which everything that a host or a file says is this text."""
    good = [
        msgspec.structs.replace(o, placement=dict.fromkeys(o.placement, text))
        for o in make_sweep(sweep=text, data=DataSpec(text, None, "d1"))
    ]
    changes: dict[str, Any] = {"sweep": text, "data": DataSpec(text, None, "d1")}
    failed = make_failed(make_order(4, "downpour", 4, **changes), cause=text)
    missing = make_not_run(make_order(4, "dc-sgd", 4, **changes))
    assert failed.failure
    return [
        *good,
        msgspec.structs.replace(
            failed,
            failure=msgspec.structs.replace(
                failed.failure, task=text, host=text, log_tail=[text, text]
            ),
        ),
        missing,
    ]


def analysis_of(text: str) -> Analysis:
    context = make_context(
        data_note=text, cpu_model=text, versions={text: text}, profile=text, planned_repeats=4
    )
    return analyse(outcomes_of(text), context)


@nasty
def test_the_printer(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer()
    printer.debug = True
    printer.note(text)
    printer.error(f"error: {HostError(text, where=text, remedy=text)}")
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 2)
    check(err)
    try:
        raise HostError(text)  # noqa: TRY301
    except HostError:
        printer.traceback()  # has the lines of the text, set apart by those around them
    err = capsys.readouterr().err
    check(err.replace(FORGED, ""))


@nasty
def test_tables_and_fields(text: str) -> None:
    columns = [Column(text, text, is_text=True), Column(text)]
    table = Table(text, columns, [[text, text]], [text], [[text, text]])
    check(table_text(table, SCREEN))
    check(fields_text([(text, text)], SCREEN, [text]))
    assert len(fields_text([(text, text)], SCREEN, [text]).splitlines()) == 2
    check_markdown(table_markdown(table))
    check_markdown(fields_markdown([(text, text)]))


@nasty
def test_the_report(text: str) -> None:
    analysis = analysis_of(text)
    subject = Subject(analysis, outcomes_of(text))
    check(terminal.render(analysis, SCREEN))
    check_markdown(markdown.render(subject))
    check(export.as_json(analysis))
    stored = json.loads(export.as_json(analysis))["settings"]["data"]["name"]
    assert stored == text or "PASSWORD" in text
    for kind in ROWS:
        check(as_csv(subject, kind))
        (row, *_) = csv.DictReader(io.StringIO(as_csv(subject, kind)))
        assert not row["sweep"].startswith("=")


@pytest.mark.parametrize("name", FEW)
def test_the_figures(name: str, tmp_path: Path) -> None:
    subject = Subject(analysis_of(NASTY[name]), outcomes_of(NASTY[name]))
    for figure in FIGURES:
        write_figure(subject, tmp_path / f"{figure}.svg", figure)
        check((tmp_path / f"{figure}.svg").read_text())


@pytest.mark.parametrize("name", FEW)
def test_the_page(name: str) -> None:
    text = page.render(Subject(analysis_of(NASTY[name]), outcomes_of(NASTY[name])))
    check(text)
    Page(text)


@nasty
def test_the_cost(text: str) -> None:
    own = msgspec.structs.replace(basis_of_own_hardware(0.25), machine=text, region=text, gpu=text)
    outcomes = outcomes_of(text)
    cost = cost_of_sweep(outcomes, own, target_accuracy=0.5, types=[own], prices=text)
    for one in (cost, plans_within(cost, outcomes, 1e9, [], [own])):
        check(cost_render.render(table_1(), one, SCREEN))
        check_markdown(cost_render.render_markdown(table_1(), one))
        check(cost_render.as_json(table_1(), one))
        check(cost_export.as_csv(table_1(), one))


@nasty
def test_the_views_of_a_sweep(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(Config(), DataSpec(text, None, "d1"), "sweep-1", cores=2.0)
    check(plan_view.render(plan, plan.orders, SCREEN))
    check(plan_view.as_json(plan, plan.orders))
    (failed,) = (o for o in outcomes_of(text) if o.status == "failed")
    written = io.StringIO()
    printer = Printer()
    printer.__dict__["err"] = Console(file=written, width=200, highlight=False)
    live = LiveView(printer)
    for view in (PlainView(printer.note), live):
        view.sweep_started(plan, plan.orders)
        view.phase(text)
        view.notice(text)
        view.trial_started(plan.orders[0])
        view.trial_ended(failed)
        view.phase(text)
    check(capsys.readouterr().err)
    printer.err.print(live.render())
    check(written.getvalue())
    if text.startswith("[red]"):
        assert written.getvalue().count(text) > 2


@nasty
def test_the_views_of_hosts(text: str) -> None:
    steps = {text: [Step(text, "changed", text, 1.0), Step(text, "failed", text, 1.0)]}
    missing = {text: HostError(text, remedy=text)}
    check(provision_view.provisioned(steps, SCREEN))
    check(provision_view.provisioned_document(steps, missing))
    check(provision_view.removed({text: Removed(removed=True, left=[text])}, text))
    written = io.StringIO()
    Console(file=written, width=200, highlight=False).print(provision_view.rows(steps))
    check(written.getvalue())
    part = Part(
        cluster=text,
        host=text,
        owner=text,
        purpose=text,
        since=0.0,
        pid=1,
        ports=[1],
        package=text,
        socket=text,
        attached=False,
        controller=text,
        doing=text,
        launcher=text,
        lease_left_s=1.0,
    )
    check(table_text(status._parts({text: [part]}), SCREEN))
    check(table_text(status._leftovers({text: [Leftover(text, text, [1])]}), SCREEN))
    lines = stop._text({text: {text: Ended(1, [2], [3])}}, text)
    check(lines)
    assert len(lines.splitlines()) == 1


@nasty
def test_what_a_user_typed_or_has_in_a_file(
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.toml").write_text(f"[train]\n{json.dumps(text)} = 1\n", encoding="utf-8")
    text = text.replace("\x00", "")  # which no argument can hold
    for arguments in (
        ["report", "--config", "odd.toml"],
        ["report", text],
        ["report", "--config", text],
        [text],
        ["run", f"--{text}"],
        ["run", "--epochs", text],
        ["run", "--hosts", text],
        ["run", "--hostfile", text],
        ["cost", "--price-book", text],
        ["cost", "--machine", text],
        ["provision", "--hosts", "a", "--index-url", text],
    ):
        assert main(arguments) in {2, 3}, arguments
        err = capsys.readouterr().err
        check(err)
        assert err.startswith("dnnbench: error: ") or len(err.splitlines()) > 1
