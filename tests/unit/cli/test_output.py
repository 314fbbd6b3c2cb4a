"""Where results go: files, links, devices, pipes and standard output."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest
from support import SUPPORT

from dnnbench.cli import main
from dnnbench.report.figures.drawing import FIGURES
from dnnbench.report.formats import FORMATS
from dnnbench.report.rows.table import ROWS

SEVERAL = "2026-11-25T17-53-33Z"
"""A stored sweep with several node counts."""


@pytest.fixture(autouse=True)
def in_a_directory_with_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SUPPORT / "stored" / "results", "results")


@pytest.mark.parametrize("command", ["report", "cost"])
def test_a_dash_is_standard_output(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 0
    printed = capsys.readouterr().out
    assert main([command, "-o", "-"]) == 0
    assert capsys.readouterr().out.split() == printed.split()
    assert not Path("-").exists()


def test_a_link_stays_and_what_it_leads_to_is_replaced() -> None:
    Path("real.csv").write_text("old")
    Path("link.csv").symlink_to("real.csv")
    assert main(["report", "-o", "link.csv"]) == 0
    assert Path("link.csv").is_symlink()
    assert "downpour," in Path("real.csv").read_text()


def test_a_figure_is_written_through_a_link_and_into_a_device() -> None:
    Path("real.png").write_text("old")
    Path("link.png").symlink_to("real.png")
    Path("null.svg").symlink_to(os.devnull)
    assert main(["report", SEVERAL, "--figure", "link.png"]) == 0
    assert main(["report", SEVERAL, "--figure", "null.svg"]) == 0
    assert Path("link.png").is_symlink()
    assert Path("real.png").read_bytes().startswith(b"\x89PNG")
    assert Path("null.svg").is_symlink()
    assert Path("null.svg").is_char_device()


@pytest.mark.parametrize("option", ["--output", "--figure"])
def test_a_link_to_itself_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("loop.svg").symlink_to("loop.svg")
    assert main(["report", SEVERAL, "--format", "json", option, "loop.svg"]) == 3
    assert "loop.svg: cannot be written: Too many levels of" in capsys.readouterr().err
    assert Path("loop.svg").is_symlink()


@pytest.mark.parametrize("command", ["report", "cost"])
def test_a_pipe_of_the_shell_is_written_to(command: str) -> None:
    reading, writing = os.pipe()
    assert main([command, SEVERAL, "--format", "csv", "-o", f"/proc/self/fd/{writing}"]) == 0
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert "," in pipe.read()


def test_nothing_is_written_before_the_report_and_its_figures_are_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["report", SEVERAL, "-o", "report.md", "--figure", "figure.jpg"]) == 2
    assert main(["report", SEVERAL, "-o", "nowhere/report.md"]) == 3
    assert "nowhere/report.md: cannot be written" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["results"]


def test_a_fifo_is_written_to_and_stays_one() -> None:
    os.mkfifo("pipe.csv")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe.csv").read_text()), daemon=True)
    reader.start()
    assert main(["report", "-o", "pipe.csv"]) == 0
    reader.join(10)
    assert "," in read[0]
    assert stat.S_ISFIFO(Path("pipe.csv").stat().st_mode)


def test_a_device_is_written_to_and_stays_one() -> None:
    device = Path(os.devnull)
    before = device.stat()
    assert main(["report", "-o", os.devnull]) == 0
    assert main(["init", "--config", os.devnull, "--force"]) == 0
    after = device.stat()
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_rdev) == (before.st_ino, before.st_rdev)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("report", "-o", "x.htm"), "ends with .txt, .md, .markdown, .html, .csv, "),
        (("report", "-o", "x.pdf"), "got 'x.pdf'"),
        (("cost", "-o", "x.html"), "ends with .txt, .md, .markdown, .csv, .json, "),
        (("report", "--rows", "epochs", "-o", "x.json"), "--rows: needs --format csv, got json"),
        (("report", "--rows", "hosts"), "is not one of 'cells', 'trials', 'epochs'"),
        (
            ("report", SEVERAL, "-o", "a.svg", "--format", "markdown"),
            "a.svg: is also the name of the fig",
        ),
        (("report", "-o", "a.png", "--format", "csv", "--figure", "./a.png"), "--figure: names"),
    ],
)
def test_what_cannot_be_written_as_its_name_says_is_refused(
    arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["results"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_the_report_has_a_suffix_that_chooses_it(name: str) -> None:
    suffix = {"terminal": "txt", "markdown": "md"}.get(name, name)
    assert main(["report", "--format", name, "-o", "asked.out"]) == 0
    assert main(["report", "-o", f"report.{suffix}"]) == 0
    report = Path(f"report.{suffix}").read_text().replace("report.png", "asked.png")
    assert report == Path("asked.out").read_text()


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_row_is_chosen_by_its_name(name: str) -> None:
    assert main(["report", "--rows", name, "-o", f"{name}.csv"]) == 0
    header, *rows = Path(f"{name}.csv").read_text().splitlines()
    assert header.startswith("sweep,")
    assert rows


def test_the_schema_needs_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["report", "--json-schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "dnnbench report"


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_by_its_name(name: str) -> None:
    assert main(["report", SEVERAL, "--draw", name, "--figure", f"{name}.svg"]) == 0
    assert Path(f"{name}.svg").read_text().startswith("<?xml")


def test_a_format_that_is_asked_for_goes_into_a_file_of_any_name() -> None:
    assert main(["report", "--format", "json", "-o", "report.data"]) == 0
    assert Path("report.data").read_text().startswith("{")
