"""Whatever a user types or has in a file: a result, or one line and a documented exit code."""

from __future__ import annotations

import contextlib
import io
import os
from importlib import import_module
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dnnbench.cli import main
from dnnbench.errors import EXIT_OK, ConfigError, DataError, HostError
from dnnbench.settings.schema import settings as all_settings

DOCUMENTED = {EXIT_OK, ConfigError.exit_code, DataError.exit_code}
PLAN = ("run", "--dry-run", "--dataset", "synthetic-mnist")
ODD = (
    *("", " ", "-", "--", "0", "-1", "-0.0", "1e400", "1e308", "-1e308", "nan", "inf", "0x10"),
    *("9" * 400, "1,2", ",", "1,,2", "1-", "1-9", "x", "x" * 5000, "..", "/", "/dev/null", "."),
    *("~", "~nosuchuser", "a:b", ":", "http://a@b@c/", "\x00", "\x1b[2J", "\u202e", "\udcff"),
    *("é", "٣", "true", "None", "[]", "{}", "%s", "{0}", "$(id)", "a b", "a\nb", "2" * 30),
)
texts = st.one_of(st.sampled_from(ODD), st.text(max_size=30))
fuzz = settings(max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def check(*arguments: str, also: int = EXIT_OK) -> None:
    """Call the command line, and refuse a bug and an error that is not one line."""
    out, err = io.StringIO(), io.StringIO()
    arguments = tuple(argument.replace("\x00", "") for argument in arguments)  # none can hold it
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    said = err.getvalue()
    assert code in DOCUMENTED | {also}, (arguments, said)
    if code != EXIT_OK:
        assert said.splitlines()[-1].startswith("dnnbench: error: "), said
        assert said.count("dnnbench: error: ") == 1
    assert "Traceback" not in said


def options_of(name: str) -> list[str]:
    command: click.Command = import_module(f"dnnbench.cli.{name}").command
    found = [p for p in command.params if isinstance(p, click.Option) and not p.is_flag]
    return [option.opts[-1] for option in found if option.name not in ("output", "figure")]


OPTIONS = [
    (name, option)
    for name in ("run", "report", "cost", "predict", "compare", "init")
    for option in options_of(name)
]


@fuzz
@given(st.sampled_from(OPTIONS), texts)
@example(("run", "--nodes"), "9" * 400)
@example(("cost", "--accuracy"), "nan")
def test_options(chosen: tuple[str, str], text: str) -> None:
    name, option = chosen
    given_ = [name, "--dry-run"] if name == "run" else [name]
    check(*given_, f"{option}={text}")


@fuzz
@given(st.sampled_from(sorted(all_settings())), texts)
def test_environment_variables(key: str, text: str) -> None:
    name = all_settings()[key].variable
    value = text.replace("\x00", "").encode(errors="surrogatepass").decode(errors="replace")
    os.environ[name] = value
    try:
        check("run", "--dry-run")
    finally:
        del os.environ[name]


TOML_VALUES = (
    *("1", "-1", "1e400", "-1e308", "nan", "inf", '""', '"x"', "[]", "[1, [2]]", "{}", "true"),
    *("1979-05-27", "[nan]", '["a", 1]', "9" * 30, "{ a = 1 }", '"\\u001b[2J"', "[" * 2000, "="),
)


@fuzz
@given(st.sampled_from(sorted(all_settings())), st.sampled_from(TOML_VALUES))
def test_settings_files(key: str, value: str) -> None:
    table, name = key.split(".")
    Path("dnnbench.toml").write_text(f"[{table}]\n{name} = {value}\n", encoding="utf-8")
    check("run", "--dry-run")


HOSTS = (
    *("a", "a slots=2", "a slots=x", "a slots=-1", "a:3", "[g]", "[g:vars]", "b[1:3]", "b[3:1]"),
    *("b[1:999999999]", "a ansible_host=", "a ansible_port=99999", "x=y", "#", "\\", "\x00", "é"),
    *("a a a", "[", "]", "[g:children]", "g", "::1", "a" * 300, "a ansible_user='", "\u202e"),
)
host_files = st.one_of(
    st.lists(st.sampled_from(HOSTS), max_size=6).map("\n".join),
    st.text(max_size=60),
    st.sampled_from(["{", "[]", '{"_meta": 1}', '{"all": {"hosts": 3}}', "[" * 100_000]),
)


@fuzz
@given(st.sampled_from(["--hostfile", "--inventory"]), host_files)
def test_host_lists(option: str, content: str) -> None:
    Path("list").write_bytes(content.encode(errors="surrogatepass"))
    check(*PLAN, option, "list", also=HostError.exit_code)


BOOK = """\
source = "https://example.com"
date = 2026-01-01
currency = "USD"
region = "here"
"""
book_lines = st.lists(
    st.tuples(
        st.sampled_from(["source", "date", "currency", "region", "hour_s", "machines", "x"]),
        st.sampled_from(TOML_VALUES),
    ).map(" = ".join),
    max_size=4,
).map("\n".join)
CSV = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice"
csv_lines = st.lists(
    st.lists(st.sampled_from(ODD), min_size=9, max_size=9).map(
        lambda row: ",".join(cell.replace("\udcff", "") for cell in row)
    ),
    max_size=3,
).map(lambda rows: "\n".join([CSV, *rows]))


@fuzz
@given(
    st.one_of(
        book_lines.map(lambda text: ("book.toml", BOOK + text)),
        csv_lines.map(lambda text: ("vms.csv", text)),
        st.text(max_size=60).map(lambda text: ("vms.csv", text)),
    )
)
def test_price_books(file: tuple[str, str]) -> None:
    name, content = file
    Path(name).write_bytes(content.encode(errors="surrogatepass"))
    check("cost", "--price-book", f"./{name}")


@fuzz
@given(
    st.sampled_from(["mnist", "fashion-mnist", "cifar-10", "directory:d"]),
    st.sampled_from(["train-images-idx3-ubyte", "x.npz", "train.npz", "data_batch_1", "t.gz"]),
    st.binary(max_size=80),
)
def test_data_files(dataset: str, name: str, content: bytes) -> None:
    Path("d").mkdir(exist_ok=True)
    Path("d", name).write_bytes(content)
    directory = [] if dataset.startswith("directory:") else ["--data-dir", "d"]
    check("run", "--dry-run", "--dataset", dataset, *directory)
