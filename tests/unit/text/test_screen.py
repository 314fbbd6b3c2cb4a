from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from dnnbench.cli.shared.printer import FILE_WIDTH, Printer
from dnnbench.text.screen import Screen, wrapped
from dnnbench.text.tables import Column, Table, fields_text, table_text

TABLE = Table(
    "Title",
    [Column("Name", is_text=True), Column("mean", "downpour"), Column("n", "downpour")],
    [["a host", "1.5 ± 0.5", "3"], ["b", "10.5 ± 0.5", "1,200"]],
    ["A note."],
    [["Growth", "+7.0", ""]],
)
FACTS = [("ab", "x y-z"), ("c", "1,000.5")]


def test_lines_break_between_words_not_at_hyphens() -> None:
    assert wrapped("one dc-sgd three", 7) == ["one", "dc-sgd", "three"]
    assert wrapped("in abcdefghij", 4) == ["in a", "bcde", "fghi", "j"]


def test_what_would_move_the_cursor_is_shown_as_an_escape() -> None:
    screen = Screen(80)
    assert screen.paragraph("a\x1b[2Jb\tc\u2028d\x01\r") == "a\\x1b[2Jb c d\\x01\n"
    assert "\x1b" not in table_text(Table("\x1b", [Column("\x1b")], [["\x1b"]], []), Screen(80))
    assert "\x1b" not in fields_text([("a", "\x1b")], Screen(80), ["\x1b"])


def test_a_table_names_a_group_once_and_sets_totals_apart() -> None:
    assert table_text(TABLE, Screen(80)).splitlines() == [
        "",
        "Title",
        "------  ----------  -----",
        "          downpour",
        "Name          mean      n",
        "------  ----------  -----",
        "a host   1.5 ± 0.5      3",
        "b       10.5 ± 0.5  1,200",
        "------  ----------  -----",
        "Growth        +7.0",
        "------  ----------  -----",
        "A note.",
    ]


def test_columns_give_way_between_words_then_within_texts_then_within_figures() -> None:
    def row(width: int) -> list[str]:
        lines = table_text(TABLE, Screen(width)).splitlines()
        return lines[lines.index(next(line for line in lines if line.startswith("b"))) :][:3]

    assert row(25)[0] == "b       10.5 ± 0.5  1,200"
    assert row(24)[:2] == ["b          10.5 ±  1,200", "              0.5"]
    assert row(20)[:2] == ["b      10.5 ±  1,200", "          0.5"]
    assert row(16) == ["b     10.5  1,20", "         ±     0", "       0.5"]


@pytest.mark.parametrize("width", range(12, 27))
@pytest.mark.parametrize("is_styled", [True, False])
def test_a_table_and_facts_fit_their_screen_and_lose_nothing(width: int, is_styled: bool) -> None:
    def shown(width: int) -> str:
        screen = Screen(width, is_styled=is_styled)
        text = table_text(TABLE, screen) + fields_text(FACTS, screen, ["w"])
        return re.sub(r"\x1b\[\d+m", "", text)

    text = shown(width)
    assert max(map(len, text.splitlines())) <= width
    assert sorted(re.sub(r"[\s-]", "", text)) == sorted(re.sub(r"[\s-]", "", shown(99)))


def test_styles_are_codes_around_each_line_where_the_screen_shows_them() -> None:
    styled = Screen(9, is_styled=True)
    assert Screen(9).styled("a", bold=True) == "a"
    assert styled.styled("a", bold=True, fg="yellow") == "\x1b[1ma\x1b[0m"
    assert "33m" in styled._replace(is_colored=True).styled("a", fg="yellow")
    assert styled._replace(width=3).paragraph("one two", dim=True) == (
        "\x1b[2mone\x1b[0m\n\x1b[2mtwo\x1b[0m\n"
    )


@pytest.mark.parametrize(
    ("is_terminal", "environment", "screen"),
    [
        (False, {}, Screen(FILE_WIDTH)),
        (False, {"COLUMNS": "120"}, Screen(120)),
        (True, {"COLUMNS": "90"}, Screen(90, is_styled=True, is_colored=True)),
        (True, {"COLUMNS": "90", "NO_COLOR": "1"}, Screen(90, is_styled=True)),
        (True, {"COLUMNS": "90", "TERM": "dumb"}, Screen(90)),
    ],
)
def test_a_result_is_laid_out_for_where_it_goes(
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
    environment: dict[str, str],
    screen: Screen,
) -> None:
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    assert Printer().screen() == screen
    assert Printer().screen(Path("report.txt")) == Screen(FILE_WIDTH)
