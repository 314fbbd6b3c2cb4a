from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dnnbench.cli import main
from dnnbench.cli.shared.cures import completed, finding_options
from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_options_that_say_where_things_are_are_repeated_and_quoted() -> None:
    given = {"--hosts": None, "--inventory": "my hosts", "--config": Path("lab.toml")}
    assert finding_options(given) == "--inventory 'my hosts' --config lab.toml"
    assert finding_options({"--hosts": None, "--slurm": False}) == ""
    step = {"--slurm": True, "--connect": "srun -w {name} {command}"}
    assert finding_options(step) == "--slurm --connect 'srun -w {name} {command}'"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "run `dnnbench stop`, then `dnnbench launch`",
            "run `dnnbench stop X`, then `dnnbench launch X`",
        ),
        ("see dnnbench status --orphans", "see dnnbench status X --orphans"),
        ("trust it with: dnnbench hosts trust", "trust it with: dnnbench hosts trust X"),
        ("resume with: dnnbench run --resume", "resume with: dnnbench run --resume"),
        ("next: `dnnbench report`, `dnnbench cost`", "next: `dnnbench report`, `dnnbench cost`"),
        ("mydnnbench stop", "mydnnbench stop"),
        ("dnnbench stopped", "dnnbench stopped"),
    ],
)
def test_commands_about_hosts_get_the_options_and_others_do_not(text: str, found: str) -> None:
    assert completed(text, "X") == found
    assert completed(text, "") == text


def test_an_error_names_the_command_that_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> Callable[..., object]:
        raise ConfigError("nothing there", remedy="run `dnnbench provision`")

    monkeypatch.setattr("dnnbench.cli.status.load_with_hosts", fail)
    command = ["status", "--hosts", "a,b", "--directory", "/x y"]
    assert main(command) == ConfigError.exit_code
    assert capsys.readouterr().err == (
        "dnnbench: error: nothing there; run `dnnbench provision --hosts a,b --directory '/x y'`\n"
    )
