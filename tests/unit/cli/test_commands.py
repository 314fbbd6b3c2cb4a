from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
import numpy as np
import pytest
from support import PROJECT
from support.factories import PUBLISHED_S, make_failed, make_not_run, make_outcome

from dnnbench import errors
from dnnbench.cli import COMMANDS, EXIT_OUTPUT_CLOSED, main
from dnnbench.cli import run as run_module
from dnnbench.cli.shared import data as data_module
from dnnbench.data.catalog import SYNTHETIC_EXAMPLES
from dnnbench.data.locate import Located
from dnnbench.errors import ConfigError, DataError, HostError, TrialError
from dnnbench.hosts.provision import steps
from dnnbench.hosts.provision.facts import Facts, HostPython
from dnnbench.settings.documents import with_tables
from dnnbench.settings.load import load
from dnnbench.settings.schema import Config, settings
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.rehearsal import Rehearsal, create_rehearsal
from dnnbench.sweep.results import create, open_sweep
from dnnbench.trial.machine import snapshot
from dnnbench.trial.outcome import LostWorker
from dnnbench.trial.spec import CellKey, DataSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.cli.views.sweep import QuietView
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

SYNTHETIC = DataSpec("synthetic-mnist", None, "d1")
ENVIRONMENT = snapshot()
HEAVY = {"tensorflow", "keras", "numpy", "scipy", "matplotlib", "paramiko", "pooch", "requests"}


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(list(arguments))
        return Result(code, *capsys.readouterr())

    return run


def good(order: TrialSpec) -> TrialOutcome:
    return make_outcome(order, PUBLISHED_S[order.cell])


def make_sweep(trials: int | None = None, name: str = "2026-11-22T14-28-41Z") -> SweepStore:
    resolved = load(None, {}, {})
    plan = make_plan(resolved.config, SYNTHETIC, name, cores=2.0)
    store = create(Path("results"), resolved, plan, ENVIRONMENT)
    for order in plan.orders[:trials]:
        store.append(good(order))
    return store


def engine(
    monkeypatch: pytest.MonkeyPatch,
    *,
    failing: str | None = None,
    missing: int = 99,
    then: BaseException | None = None,
    trials: int | None = None,
    result: Callable[[TrialSpec], TrialOutcome] = good,
) -> None:
    """Put an engine in place that ends its trials at once.

    One may be failing, those with ``missing`` nodes and more are not run, and then it may raise.
    """

    def run_sweep(
        store: SweepStore,
        observer: QuietView,
        _source: object,
        _limits: object,
        _rehearsal: object,
    ) -> list[TrialOutcome]:
        pending = store.pending()
        observer.sweep_started(store.plan, pending)
        for order in pending[:trials]:
            if order.nodes >= missing:
                outcome = make_not_run(order)
            else:
                observer.trial_started(order)
                outcome = make_failed(order) if order.id == failing else result(order)
            store.append(outcome)
            observer.trial_ended(outcome)
        if then:
            raise then
        return store.outcomes()

    monkeypatch.setattr(run_module, "run_sweep", run_sweep)


# --- what every command has in common ------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("report",),
        ("report", "--format", "csv"),
        ("cost",),
        ("predict", "--parameters", "55050"),
        ("init", "--force"),
        ("run", "--dry-run"),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_where_nothing_is_trained(arguments: tuple[str, ...]) -> None:
    make_sweep()
    command = [sys.executable, "-X", "importtime", "-m", "dnnbench", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "dnnbench.cli" in imported
    assert not {name.partition(".")[0] for name in imported} & HEAVY
    if arguments == ("--help",):
        assert not imported & {"msgspec", "rich", "dnnbench.settings.schema"}


def test_help_lists_every_command_with_its_own_first_line(call: Callable[..., Result]) -> None:
    text = call("--help").out
    assert set(COMMANDS) == {path.stem for path in (PROJECT / "dnnbench/cli").glob("[!_]*.py")}
    for name, short in COMMANDS.items():
        command: click.Command = import_module(f"dnnbench.cli.{name}").command
        assert (command.help or "").partition("\n\n")[0] == short
        assert re.search(rf"^  {name} +{re.escape(short)}$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("run", "--nodes", "1"), 2, "--nodes: "),
        (("run", "--epoch", "shared"), 2, "--epoch: .*did you mean sharded"),
        (("run", "--dry-run", "--dataset", "mnits"), 2, "--dataset: .*did you mean mnist"),
        (("report", "--config", "none.toml"), 2, "none.toml: there is no such file"),
        (("report",), 3, "results: there is no sweep; run one with `dnnbench run`"),
        (("cost", "--machine", "n1-standard-5"), 2, "did you mean n1-standard-"),
        (("cost", "--usd-per-hour", "0"), 2, "--usd-per-hour: expected"),
        (("run", "--resume"), 3, "there is no unfinished sweep"),
        (("run", "--resume", "--epochs", "3"), 2, "--epochs: a resumed sweep keeps its own"),
        (
            ("run", "--resume", "--hosts", "a", "--no-share"),
            2,
            "--hosts, --share: a resumed sweep keeps its own",
        ),
        (
            ("run", "--hosts", "a,b", "--inventory", "c"),
            2,
            "expected one list of hosts, got --hosts, --inventory",
        ),
        (
            ("run", "--dry-run", "--dataset", "imagenet"),
            2,
            "--dataset: expected mnist, fashion-mnis",
        ),
        (("run", "--dry-run", "--nodes", "1000000000"), 2, "--nodes: expected whole numbers <= "),
        (("run", "--dry-run", "--repeats", "1000000"), 2, "--repeats: expected a whole number <"),
        (("run", "--config", "/dev/zero"), 2, "/dev/zero: expected a regular file, found a dev"),
        (("run", "--batch-size", "60000"), 2, "--batch-size: .train. batch_size: expected at most"),
        (("run", "--parallel", "2"), 2, "--parallel: .sweep. parallel: expected hosts for 2 tri"),
        (("report", "."), 3, ": is no sweep: it has no plan.json"),
        (("run", "--hosts", "n[1-9999999999]"), 2, "--hosts: .* expected numbers of at most 9 "),
        (("report", "-o", ""), 2, "--output: expected the name of a file; see `dnnbench re"),
        (("report", "--figure", ""), 2, "--figure: expected the name of a file; see `dnn"),
        (("run", "--config", ""), 2, "--config: expected the name of a file; see `dnnbench"),
        (("init", "--config", ""), 2, "--config: expected the name of a file; see `dnnben"),
        (("report", "~nosuchuser/x"), 2, "SWEEP: '~nosuchuser/x': there is no such home directory"),
        (("report", "a" * 300), 2, "SWEEP: expected a path with at most 255 bytes per name"),
        (
            ("report", "--nodes", "x"),
            2,
            "--nodes: 'x' is not .*; see `dnnbench report --help`",
        ),
        (("report", "--nodes"), 2, "--nodes: requires an argument"),
        (("report", "--full=3"), 2, "--full: does not take a value"),
        (("report", "--ful"), 2, "--ful: dnnbench report has no such op.*; did you mean --"),
        (("report", "--zzz"), 2, "--zzz: .* such option; see `dnnbench report --help`"),
        (("report", "a", "b"), 2, "dnnbench report: got unexpected extra argument .b.; see"),
        (("report", "--format", "pdf"), 2, "--format: 'pdf' is not one of 'terminal', "),
        (("compare",), 2, "FIRST: is missing; see `dnnbench compare --help`"),
        (("hosts", "zzz"), 2, "dnnbench hosts: no such command 'zzz'; see `dnnbench hosts"),
        (("zzz",), 2, "dnnbench: there is no command 'zzz'; choose from run, report, "),
        (("run", "--ports", "2000-1999"), 2, "--ports: .cluster. ports: expected a first port not"),
        (("run", "--model", "nets:wide"), 2, "--model: there is no source of module nets in /"),
        (("report", "-o", "no/where.md"), 3, "results: there is no sweep"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_an_exit_code(
    call: Callable[..., Result], arguments: tuple[str, ...], code: int, line: str
) -> None:
    result = call(*arguments)
    assert (result.code, result.out) == (code, "")
    assert re.fullmatch(rf"dnnbench: error: .*{line}.*\n", result.err)


def test_usage_errors_name_the_nearest_command_and_end_with_2(call: Callable[..., Result]) -> None:
    result = call("reprot")
    assert result.code == 2
    assert "did you mean report?" in result.err
    assert call("report", "--no-such-option").code == 2
    assert call().code == 2


def test_a_bug_is_one_line_and_its_traceback_comes_on_demand(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    make_sweep(6)
    monkeypatch.setattr("dnnbench.cli.report.load_analysis", fail)
    plain, debug = call("report"), call("report", "--debug")
    assert (plain.code, debug.code) == (errors.EXIT_BUG, errors.EXIT_BUG)
    assert re.fullmatch(
        r"dnnbench: bug: KeyError: 'surprise' \(cli/test_commands.py:\d+\); "
        r"run again with --debug for the traceback\n",
        plain.err,
    )
    assert debug.err.startswith("Traceback")


def test_a_reader_who_has_enough_is_no_error(tmp_path: Path) -> None:
    make_sweep()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "dnnbench", "report", "--format", "json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (EXIT_OUTPUT_CLOSED, b"")


def test_the_reference_names_every_command_key_option_and_exit_code() -> None:
    text = (PROJECT / "docs/reference.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        command: click.Command = import_module(f"dnnbench.cli.{name}").command
        assert f"### `dnnbench {name}`" in text
        for option in command.params:
            if isinstance(option, click.Option):
                flags = [*option.opts, *option.secondary_opts]
                assert all(f"`{flag}" in text for flag in flags), flags
                if option.name == "layout":
                    assert isinstance(option.type, click.Choice)
                    formats = r"\|".join(option.type.choices)
                    assert f"`--format {formats}`" in text
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.DnnbenchError)}
    for code in codes | {errors.EXIT_OK, errors.EXIT_INTERRUPTED, EXIT_OUTPUT_CLOSED}:
        assert f"\n| {code} | " in text


def test_the_reference_has_the_settings_of_the_schema() -> None:
    text = (PROJECT / "docs/reference.md").read_text(encoding="utf-8")
    assert with_tables(text) == text, "bring it up to date: python -m dnnbench.settings.documents"
    for field in settings().values():
        assert f"\n| `{field.name}` | " in text
    for name in COMMANDS:
        takes_some = any(name in field.setting.commands for field in settings().values())
        assert (f"<!-- settings: {name} -->" in text) == takes_some


def test_a_command_has_the_options_that_the_schema_gives_it() -> None:
    every = {flag: field.key for field in settings().values() for flag in field.flags}
    assert len(every) == len({f for field in settings().values() for f in field.flags})
    for name in COMMANDS:
        command: click.Command = import_module(f"dnnbench.cli.{name}").command
        flags = {f for option in command.params for f in (*option.opts, *option.secondary_opts)}
        taken = {
            f
            for field in settings().values()
            if name in field.setting.commands
            for f in field.flags
        }
        if name not in {"report", "predict"}:  # whose --nodes are of a figure, of a prediction
            assert flags & every.keys() == taken
    assert {field.table for field in settings().values() if not field.flags} == {"ssh"}


def test_a_command_names_only_commands_that_there_are() -> None:
    named = {command for field in settings().values() for command in field.setting.commands}
    assert named <= set(COMMANDS)


# --- report, cost, init --------------------------------------------------------------------------


def test_report_shows_the_newest_sweep_or_the_named_one(call: Callable[..., Result]) -> None:
    older = make_sweep(name="2026-11-21T10-00-00Z")
    newer = make_sweep(6)
    text = call("report").out
    assert newer.name in text
    assert "Table 2" in text
    assert older.name in call("report", older.name).out
    assert older.name in call("report", str(older.path)).out


def test_report_writes_each_format_to_standard_output_alone(call: Callable[..., Result]) -> None:
    make_sweep()
    assert call("report", "--format", "csv").out.startswith("sweep,data,")
    assert json.loads(call("report", "--format", "json").out)["dnnbench_report"] == 1
    markdown = call("report", "--format", "markdown")
    assert markdown.out.startswith("# dnnbench report")
    assert "![" not in markdown.out
    assert markdown.err == ""
    assert sorted(path.name for path in Path().iterdir()) == ["results"]


def test_no_line_of_a_result_ends_in_blanks(call: Callable[..., Result]) -> None:
    make_sweep()
    for arguments in (("report",), ("cost",), ("run", "--dry-run")):
        lines = call(*arguments).out.splitlines()
        assert len(lines) > 10
        assert [line for line in lines if line != line.rstrip()] == []


def test_report_writes_markdown_with_its_figure_beside_it(call: Callable[..., Result]) -> None:
    make_sweep()
    result = call("report", "-o", "table.md", "--nodes", "8")
    assert (result.out, result.err) == ("", "wrote table.md, table.png, table.svg\n")
    assert "](table.png)" in Path("table.md").read_text()
    assert Path("table.png").read_bytes().startswith(b"\x89PNG")
    assert "8 nodes" in Path("table.svg").read_text()
    call("report", "--format", "markdown", "--figure", "drawn.svg", "-o", "sub.md", "-q")
    assert "](drawn.svg)" in Path("sub.md").read_text()
    assert call("report", "-o", "table.csv").code == 0
    assert Path("table.csv").read_text() == call("report", "--format", "csv").out


def test_report_refuses_a_node_count_that_the_sweep_lacks(call: Callable[..., Result]) -> None:
    make_sweep(6)
    result = call("report", "--nodes", "5")
    assert result.code == 2
    assert "choose one of 4, 8, 12" in result.err


def test_cost_shows_table_1_without_any_sweep(call: Callable[..., Result]) -> None:
    result = call("cost", "--format", "markdown")
    assert result.code == 0
    assert "27,156.53" in result.out
    assert "Cost of the sweep" not in result.out
    assert "run one with `dnnbench run`" in result.err


def test_cost_prices_the_newest_sweep_as_settings_say(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sweep()
    document = json.loads(call("cost", "--format", "json").out)
    assert document["dnnbench_cost"] == 1
    assert document["sweep"]["finished"] == 18
    assert document["sweep"]["basis"]["machine"] == "n1-standard-4"
    monkeypatch.setenv("DNNBENCH_COST_USD_PER_HOUR", "0.25")
    document = json.loads(call("cost", "--format", "json").out)
    assert document["sweep"]["basis"]["machine"] == "own hardware"
    text = call("cost").out
    assert text.index("Table 1") < text.index("Cost of the sweep")


def test_cost_takes_the_hosts_own_prices_unless_told_otherwise(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def machine(*arguments: str) -> str:
        document = json.loads(call("cost", "--format", "json", *arguments).out)
        name: str = document["sweep"]["basis"]["machine"]
        return name

    make_sweep()  # on localhost
    assert machine() == "n1-standard-4"
    Path("dnnbench.toml").write_text('[[hosts]]\nname = "localhost"\nusd_per_hour = 0.36\n')
    assert machine() == "the hosts' own prices"
    assert machine("--machine", "n1-standard-8") == "n1-standard-8"
    assert machine("--usd-per-hour", "0.25") == "own hardware"
    monkeypatch.setenv("DNNBENCH_COST_MACHINE", "n1-standard-8")
    assert machine() == "n1-standard-8"


def test_init_writes_a_file_that_changes_nothing_and_never_replaces_one(
    call: Callable[..., Result],
) -> None:
    assert call("init").code == 0
    assert load(None, {}, {}).config == Config()
    Path("dnnbench.toml").write_text("# mine")
    refused = call("init")
    assert (refused.code, refused.err) == (
        2,
        "dnnbench: error: dnnbench.toml: already exists; replace it with --force\n",
    )
    assert Path("dnnbench.toml").read_text() == "# mine"
    assert call("init", "--config", "other.toml").code == 0
    assert call("init", "--force").code == 0
    assert Path("dnnbench.toml").read_text() == Path("other.toml").read_text()


# --- run -----------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_plan_and_writes_nothing(call: Callable[..., Result]) -> None:
    result = call("run", "--dry-run", "--nodes", "4,6", "--repeats", "2", "--ps", "2")
    assert result.code == 0
    trials = re.findall(r"n0\d-\S+-r\d\d", result.out)
    document = json.loads(
        call("run", "--dry-run", "--nodes", "4,6", "--repeats", "2", "--ps", "2", "--json").out
    )
    assert trials == document["pending"]
    assert len(trials) == 8
    assert "localhost: 2 ps, 4 worker" in result.out
    assert list(Path().iterdir()) == []


def test_run_reports_at_its_end_and_leaves_the_report_with_the_results(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch)
    result = call("run", "--dataset", "synthetic-mnist")
    assert result.code == 0
    assert "Table 2" in result.out
    assert any(line.startswith("Next ") for line in result.out.splitlines()[-4:])
    (sweep,) = Path("results").iterdir()
    assert {"report.md", "report.png", "report.svg"} <= {path.name for path in sweep.iterdir()}
    assert f"results: {sweep} (report.md " in result.err
    assert call("run", "--resume").code == 3


@pytest.mark.parametrize(
    ("job", "hosts", "is_noted"),
    [
        ({"SLURM_JOB_NODELIST": "node[01-04]"}, (), True),
        ({"SLURM_JOB_NODELIST": "node[01-04]"}, ("--hosts", "node[01-04]"), False),
        ({"SLURM_JOB_NODELIST": "node01", "SLURM_JOB_NUM_NODES": "1"}, (), False),
        ({"PBS_NODEFILE": "several"}, (), True),
        ({"PBS_NODEFILE": "several"}, ("--hosts", "node[01-04]"), False),
        ({"PBS_NODEFILE": "one"}, (), False),
        ({"PBS_NODEFILE": "none"}, (), False),
        ({}, (), False),
    ],
)
def test_a_run_on_this_machine_alone_inside_a_batch_job_is_noted(
    call: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    job: dict[str, str],
    hosts: tuple[str, ...],
    is_noted: bool,
) -> None:
    for name in ("SLURM_JOB_NODELIST", "SLURM_JOB_NUM_NODES", "PBS_NODEFILE"):
        monkeypatch.delenv(name, raising=False)
    Path("several").write_text("a\na\nb\n")
    Path("one").write_text("a\na\n")
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    result = call("run", "--nodes", "4", "--dry-run", *hosts)
    assert result.code == 0
    note = {
        "SLURM_JOB_NODELIST": "not on the hosts of the Slurm job; for those: --slurm",
        "PBS_NODEFILE": "not on the hosts of the PBS job; for those: --hostfile $PBS_NODEFILE",
    }
    assert any(note[name] in result.err for name in job if name in note) == is_noted


def test_the_login_of_a_package_index_is_neither_stored_nor_shown(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DNNBENCH_PROVISION_INDEX_URL", "https://bob:PASSWORD@pypi.example/simple")
    engine(monkeypatch, failing="n08-dc-sgd-r02")
    given = ("run", "--dataset", "synthetic-mnist", "--debug")
    said = [call(*given, "--dry-run"), call(*given, "--dry-run", "--json"), call(*given)]
    said += [call("run", "--resume", "--dry-run"), call("report", "--format", "json")]
    (sweep,) = Path("results").iterdir()
    stored = [path.read_bytes() for path in sweep.rglob("*") if path.is_file()]
    assert len(stored) > 5
    assert not any(b"PASSWORD" in content for content in stored)
    assert "PASSWORD" not in "".join(result.out + result.err for result in said)
    assert b'"https://***@pypi.example/simple"' in (sweep / "config.json").read_bytes()


def test_a_resumed_sweep_goes_on_without_the_login_and_never_sends_what_stands_for_it(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = load(None, {"DNNBENCH_PROVISION_INDEX_URL": "https://bob:PASSWORD@a/b"}, {})
    plan = make_plan(resolved.config, SYNTHETIC, "2026-11-22T14-28-41Z", cores=2.0)
    store = create(Path("results"), resolved, plan, ENVIRONMENT)
    assert store.resolved.config.provision.index_url == "https://***@a/b"
    assert resolved.config.provision.index_url == "https://bob:PASSWORD@a/b"
    engine(monkeypatch)
    assert call("run", "--resume").code == 0
    monkeypatch.setattr(
        steps, "chosen_python", lambda *_: HostPython("python3", "3.11.7", venv=True)
    )
    fields = dict.fromkeys(Facts.__struct_fields__, None) | {"addresses": []}
    facts = Facts(**fields)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"login of this URL is \*\*\*.* give the real login"):
        steps._environment(
            SimpleNamespace(host="node1"),  # type: ignore[arg-type]
            store.resolved.config,
            SimpleNamespace(wheels=[], device="cpu"),  # type: ignore[arg-type]
            facts,
            None,
        )


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("https://***@host/simple", "the login of this URL is ***"),
        ("https://bob:PASS/WORD@host/simple", "expected a URL such as https://host/simple"),
        ("bob:PASSWORD@host", "expected a URL such as https://host/simple"),
        ("ftp://bob:PASSWORD@host", "expected a URL such as https://host/simple"),
        ("https://bob:PASSWORD@host\x07", "expected text, not empty and without control"),
    ],
)
def test_an_index_that_is_refused_is_not_repeated(
    call: Callable[..., Result], url: str, line: str
) -> None:
    result = call("provision", "--hosts", "a", "--index-url", url)
    assert result.code == 2
    assert result.err.startswith(f"dnnbench: error: --index-url: {line}")
    assert "WORD" not in result.err


def test_a_sweep_whose_name_was_taken_a_moment_ago_takes_another(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch)
    taken = make_sweep()
    names = iter([taken.name, "2026-11-22T14-28-41Z-2"])
    monkeypatch.setattr(run_module, "new_sweep_id", lambda _results: next(names))
    assert call("run", "--dataset", "synthetic-mnist").code == 0
    assert open_sweep(Path("results")).plan.sweep == "2026-11-22T14-28-41Z-2"


def test_json_is_one_document_on_standard_output(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch)
    result = call("run", "--json", "--quiet", "--dataset", "synthetic-mnist")
    document = json.loads(result.out)
    assert result.err == ""
    stored = json.loads(call("report", "--format", "json").out)
    assert document == {"sweep_path": str(open_sweep(Path("results")).path), **stored}


def test_trials_that_were_not_run_are_reported_with_the_missing_host_and_run_later(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch, missing=12)
    result = call("run", "--dataset", "synthetic-mnist")
    assert result.code == 5
    assert "0 of 3" in result.out
    assert result.err.splitlines()[-1] == (
        "dnnbench: error: 6 of 18 trials not run: node12: connection refused; "
        "once that is fixed, `dnnbench run --resume` runs them"
    )
    engine(monkeypatch)
    again = call("run", "--resume")
    assert again.code == 0
    assert "6 of 18 trials to run" in again.err


def test_a_failed_trial_matters_more_than_one_that_was_not_run(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch, failing="n08-dc-sgd-r02", missing=12)
    result = call("run", "--dataset", "synthetic-mnist")
    assert result.code == 4
    assert "1 of 18 trials failed" in result.err.splitlines()[-1]


def test_failed_trials_are_reported_and_the_first_is_the_headline(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch, failing="n08-dc-sgd-r02")
    result = call("run", "--dataset", "synthetic-mnist")
    assert result.code == 4
    assert "Table 2" in result.out
    assert result.err.splitlines()[-1].startswith(
        "dnnbench: error: n08-dc-sgd-r02 (worker:1 on localhost): "
        "1 of 18 trials failed, the first: the connection was refused; "
    )
    engine(monkeypatch)
    again = call("run", "--resume")
    assert again.code == 0
    assert "1 of 18 trials to run" in again.err


@pytest.mark.parametrize(
    ("stop", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted after 5 of 18 trials; finished trials are in {}; "),
        (HostError("gone"), 5, "stopped after 5 of 18 trials; finished trials are in {}; "),
    ],
)
def test_a_stopped_run_says_what_is_kept_and_how_to_go_on(
    call: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    stop: BaseException,
    code: int,
    line: str,
) -> None:
    engine(monkeypatch, trials=5, then=stop)
    result = call("run", "--dataset", "synthetic-mnist")
    (sweep,) = Path("results").iterdir()
    assert (result.code, result.out) == (code, "")
    assert line.format(sweep) + "resume with: dnnbench run --resume\n" in result.err
    engine(monkeypatch)
    assert call("run", "--resume").code == 0
    assert open_sweep(Path("results")).pending() == []


def test_a_run_that_finished_nothing_names_no_place_for_it(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch, trials=0, then=KeyboardInterrupt())
    result = call("run", "--dataset", "synthetic-mnist")
    assert "interrupted after 0 of 18 trials; resume with: dnnbench run --resume\n" in result.err


@pytest.mark.parametrize("moment", ["after the last trial", "in the report"])
def test_an_interrupt_after_all_trials_names_the_report(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupt(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    engine(monkeypatch, then=KeyboardInterrupt() if moment == "after the last trial" else None)
    monkeypatch.setattr(run_module, "_report", interrupt)
    result = call("run", "--dataset", "synthetic-mnist")
    assert result.code == 130
    assert "interrupted after all 18 trials; report them with: dnnbench report\n" in result.err


def test_an_interrupt_in_the_rehearsal_names_the_report_and_how_to_finish_it(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_sweep(store: SweepStore, *_: object) -> None:
        for order in store.plan.orders:
            store.append(good(order))
        create_rehearsal(store, Rehearsal(pace_ms=10.0, steps=50, nodes=(4, 12), duration_s=60.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "run_sweep", run_sweep)
    result = call("run", "--dataset", "synthetic-mnist")
    assert result.code == 130
    assert (
        "interrupted after all 18 trials; report them with: dnnbench report, or finish their "
        "rehearsal with: dnnbench run --resume\n"
    ) in result.err


def test_trials_that_lost_workers_are_named_and_repeated(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = LostWorker("worker:1", "localhost", "killed by signal 9", epoch=1, after_s=2.0)

    def degraded(order: TrialSpec) -> TrialOutcome:
        return msgspec.structs.replace(good(order), status="degraded", lost_workers=[lost])

    engine(monkeypatch, result=degraded, trials=1)
    result = call("run", "--dataset", "synthetic-mnist")
    assert "degraded in " in result.err
    assert f"lost {lost}" in result.err
    assert "note: 1 of 18 trials lost workers or parameter servers and are in no" in result.err
    (sweep,) = Path("results").iterdir()
    assert len(open_sweep(Path("results")).pending()) == 18
    assert "| degraded |" in (sweep / "report.md").read_text()


def test_a_sweep_that_gives_up_still_reports(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch, trials=5, then=TrialError("3 trials in a row failed"))
    result = call("run", "--dataset", "synthetic-mnist")
    assert result.code == 4
    assert "Table 2" in result.out
    assert result.err.endswith("dnnbench: error: 3 trials in a row failed\n")


def test_results_elsewhere_are_named_in_what_to_type_next(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch)
    result = call("run", "--dataset", "synthetic-mnist", "--results-dir", "elsewhere")
    (sweep,) = Path("elsewhere").iterdir()
    assert f"results: {sweep} " in result.err
    assert "--results-dir elsewhere" in result.out.replace("\n", " ").replace("  ", " ")
    assert call("report", str(sweep)).code == 0


def test_resume_takes_the_newest_unfinished_sweep(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sweep(2, name="2026-11-20T10-00-00Z")
    unfinished = make_sweep(3, name="2026-11-21T10-00-00Z")
    finished = make_sweep(name="2026-11-22T10-00-00Z")
    listed = json.loads(call("run", "--resume", "--dry-run", "--json").out)
    assert listed["sweep"] == unfinished.name
    assert listed["pending"] == [order.id for order in unfinished.plan.orders[3:]]
    engine(monkeypatch)
    assert call("run", "--resume", finished.name).code == 3
    assert call("run", "--resume", "--json").code == 0
    assert unfinished.pending() == []


def test_data_that_stands_in_is_named_in_every_report(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch)
    asked = []

    def locate(name: str, data_dir: object, *, explicit: bool, progress: object) -> Located:
        del data_dir, progress
        asked.append((name, explicit))
        where = "not in ~/here; no mirror answered"
        return Located(SYNTHETIC, SYNTHETIC_EXAMPLES, "mnist was not found", where)

    monkeypatch.setattr(data_module, "locate", locate)
    said = "note: mnist was not found (not in ~/here; no mirror answered)\n"
    assert said in call("run").err
    reports = [call("report"), call("report", "--format", "markdown")]
    assert all("synthetic-mnist: mnist was not found\n" in report.out for report in reports)
    (sweep,) = Path("results").iterdir()
    kept = [path.read_bytes() for path in sweep.rglob("*") if path.is_file()]
    assert any(b"mnist was not found" in content for content in kept)
    assert not any(b"no mirror answered" in content for content in kept)
    call("run", "--dataset", "mnist")
    assert asked == [("mnist", False), ("mnist", True)]


def test_data_that_the_user_asked_for_is_never_replaced(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def locate(*_: object, **__: object) -> Located:
        raise DataError("mnist is not to be had")

    monkeypatch.setattr(data_module, "locate", locate)
    assert call("run", "--dataset", "mnist").code == 3
    assert not Path("results").exists()


def test_commands_for_hosts_say_when_there_are_none(call: Callable[..., Result]) -> None:
    for arguments in (("provision",), ("launch",), ("status",), ("stop",), ("hosts", "trust")):
        result = call(*arguments)
        assert result.code == 2
        assert "there are no hosts; list them in dnnbench.toml, or name them with --hosts" in (
            result.err
        )


def test_only_hosts_over_ssh_have_keys_to_trust(call: Callable[..., Result]) -> None:
    trusted = call("hosts", "trust", "--hosts", "a,b", "--connect", "local")
    assert (trusted.code, trusted.out) == (0, "")
    assert trusted.err == "without SSH, and so without keys: 2 hosts\n"


def test_a_directory_of_data_that_is_not_needed_is_noted(call: Callable[..., Result]) -> None:
    given = ("run", "--dry-run", "--dataset", "synthetic-mnist", "--data-dir", "nosuch")
    assert call(*given).err == "note: --data-dir: ignored, synthetic-mnist is generated\n"


@pytest.mark.parametrize(
    "settings",
    [
        ("--epoch", "sharded", "--batch-size", "5001", "--nodes", "12"),
        ("--batch-size", "60000"),
        ("--dataset", "cifar-10", "--batch-size", "45001"),
    ],
)
def test_a_batch_that_no_worker_can_fill_is_refused_before_anything_runs(
    call: Callable[..., Result], settings: tuple[str, ...]
) -> None:
    refused = call("run", "--dry-run", *settings)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "[train] batch_size: expected at most " in refused.err


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("~nosuchuser/x", 2, "--dataset: '~nosuchuser/x': there is no such home directory"),
        ("a" * 300, 2, "--dataset: expected a path with at most 255 bytes per name"),
        ("circle", 3, "circle: "),
        ("", 2, "--dataset: expected directory:PATH"),
        (".", 3, "expected one .npz file in this directory, found none"),
    ],
)
def test_a_directory_of_arrays_that_cannot_be_is_one_line(
    call: Callable[..., Result], path: str, code: int, said: str
) -> None:
    Path("circle").symlink_to("circle")
    refused = call("run", "--dry-run", "--dataset", f"directory:{path}")
    assert refused.code == code
    assert said in refused.err
    assert refused.err.count("\n") == 1


def test_a_users_own_arrays_and_label_noise_are_planned(
    call: Callable[..., Result], tmp_path: Path
) -> None:
    given: dict[str, Any] = {
        f"{part}_{kind}": array
        for part in ("train", "test")
        for kind, array in (
            ("images", np.zeros((20, 4, 4), np.uint8)),
            ("labels", np.arange(20) % 2),
        )
    }
    np.savez(tmp_path / "own.npz", **given)
    given_options = ("--dataset", f"directory:{tmp_path}", "--batch-size", "18")
    plan = call("run", "--dry-run", "--label-noise", "0.1", *given_options)
    said = f"of directory:{tmp_path.name}, 10 % label noise, batch size 18"
    assert said in plan.out.replace("\n", " ")
    refused = call("run", "--dry-run", *given_options[:2], "--batch-size", "19")
    assert "expected at most 18" in refused.err
    missing = call("run", "--dry-run", "--dataset", f"directory:{tmp_path}/nosuch")
    assert missing.code == 3
    assert "there is no such directory; check --dataset" in missing.err
    noted = call("run", "--dry-run", "--data-dir", "nosuch", *given_options)
    assert noted.err.startswith("note: --data-dir: ignored, directory:")


def test_a_dry_run_places_tasks_on_the_hosts(call: Callable[..., Result]) -> None:
    hosts = ",".join(f"node{number}" for number in range(1, 5))
    plan = call("run", "--dry-run", "--nodes", "4", "--epochs", "1", "--hosts", hosts).out
    assert "Each trial: 1 epoch (replicated) of " in plan
    assert "4 nodes: node1: 1 ps; node2: 1 worker; node3: 1 worker; node4: 1 worker." in plan
    refused = call("run", "--dry-run", "--nodes", "8", "--hosts", hosts)
    assert refused.code == 2
    assert "--hosts: 8 nodes need 8 slots, but the hosts have 4" in refused.err


def test_a_run_on_this_machine_without_tensorflow_is_refused_before_it_begins(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch)
    monkeypatch.setattr(run_module, "find_spec", lambda name: None if name == "tensorflow" else 1)
    refused = call("run", "--nodes", "4", "--dataset", "synthetic-mnist")
    assert refused.code == 5
    assert refused.err.startswith("dnnbench: error: localhost: TensorFlow is not installed for ")
    assert not Path("results").exists()
    assert call("run", "--dry-run", "--nodes", "4").code == 0
    assert call("cost").code == 0


def test_what_a_plan_refuses_is_refused_before_data_are_looked_for(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "find_data", lambda *_: pytest.fail("looked for data"))
    refused = call("run", "--nodes", "8", "--hosts", "node1,node2")
    assert refused.code == 2
    assert "--hosts: 8 nodes need 8 slots, but the hosts have 2" in refused.err
    refused = call("run", "--nodes", "4", "--batch-size", "60000")
    assert refused.code == 2
    assert "expected at most 55,000" in refused.err


def test_a_launch_is_as_large_as_the_largest_of_its_own_nodes(call: Callable[..., Result]) -> None:
    refused = call("launch", "--nodes", "8,10", "--ps", "5", "--hosts", "node1")
    assert refused.code == 2
    assert "--hosts: 10 nodes need 10 slots, but the hosts have 1" in refused.err


def test_an_earlier_sweep_of_the_same_settings_says_how_long_trials_take(
    call: Callable[..., Result],
) -> None:
    before = json.loads(call("run", "--dry-run", "--json").out)["estimated_s"]
    make_sweep()
    after = json.loads(call("run", "--dry-run", "--json").out)["estimated_s"]
    other = json.loads(call("run", "--dry-run", "--json", "--epochs", "3").out)["estimated_s"]
    name = "n04-downpour-r01"
    assert after[name] == pytest.approx(2 * PUBLISHED_S[CellKey(4, "downpour")] + 5.0)
    assert before[name] != after[name]
    assert other[name] not in (before[name], after[name])
