from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dnnbench.console import FILE_WIDTH, Printer
from dnnbench.screen import CODES, Screen, columns, fitted, padded, row_lines, wrapped
from dnnbench.tables import Column, Table, facts_text, table_text

TABLE = Table(
    "Title",
    [Column("Name", is_text=True), Column("mean", "downpour"), Column("n", "downpour")],
    [["a", "1.5 ± 0.5", "3"], ["b", "10.5 ± 0.5", "12"]],
    ["A note."],
    [["Growth", "+7.0", ""]],
)


def test_lines_break_between_words_and_longer_words_within() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("one two three", 80) == ["one two three"]
    assert wrapped("in abcdefghij klm", 4) == ["in", "abcd", "efgh", "ij", "klm"]
    assert wrapped("ab\n\ncd", 80) == ["ab", "", "cd"]
    assert wrapped("", 5) == [""]
    assert wrapped("ab", 0) == ["a", "b"]


def test_what_would_move_the_cursor_becomes_a_blank() -> None:
    assert wrapped("a\x1b[2Jb\tc\r", 80) == ["a [2Jb c "]


def test_wide_signs_take_two_columns_and_combining_ones_none() -> None:
    assert [columns(text) for text in ("abc", "±µ", "█▁", "節点", "e\u0301")] == [3, 2, 2, 4, 1]
    assert wrapped("節点節点", 5) == ["節点", "節点"]
    assert padded("節", 4) == "節  "
    assert padded("節", 4, is_right=True) == "  節"


def test_the_widest_columns_give_way_first() -> None:
    assert fitted([5, 20, 10], 35) == [5, 20, 10]
    assert fitted([5, 20, 10], 25) == [5, 10, 10]
    assert sum(fitted([5, 20, 10], 14)) == 14
    assert fitted([5, 20], 0) == [1, 1]


def test_cells_of_several_lines_stand_at_the_top_or_at_the_bottom() -> None:
    arguments = (["a b", "c"], [1, 1], [False, True])
    assert row_lines(*arguments) == ["a  c", "b"]
    assert row_lines(*arguments, at_bottom=True) == ["a", "b  c"]


def test_a_table_names_a_group_once_and_sets_totals_apart() -> None:
    assert table_text(TABLE, Screen(80)).splitlines() == [
        "",
        "Title",
        "          downpour",
        "Name          mean   n",
        "──────────────────────",
        "a        1.5 ± 0.5   3",
        "b       10.5 ± 0.5  12",
        "",
        "Growth        +7.0",
        "A note.",
    ]


@pytest.mark.parametrize("width", range(12, 24))
def test_a_table_and_facts_fit_their_screen_and_lose_nothing(width: int) -> None:
    text = table_text(TABLE, Screen(width)) + facts_text([("ab", "x y-z")], Screen(width), ["w"])
    assert max(map(columns, text.splitlines())) <= width
    words = [*"".join(text.split()).replace("─", "")]
    whole = table_text(TABLE, Screen(99)) + facts_text([("ab", "x y-z")], Screen(99), ["w"])
    assert sorted(words) == sorted("".join(whole.split()).replace("─", ""))


def test_styles_are_codes_around_whole_lines_where_there_are_any() -> None:
    assert Screen(80).styled("a", "bold") == "a"
    assert Screen(80, CODES).styled("a", "bold", "yellow") == "\x1b[1;33ma\x1b[0m"
    assert Screen(3, CODES).paragraph("one two", "dim") == [
        "\x1b[2mone\x1b[0m",
        "\x1b[2mtwo\x1b[0m",
    ]
    plain, styled = (facts_text([("ab", "x")], screen) for screen in (Screen(9), Screen(9, CODES)))
    assert (plain, styled) == ("ab  x\n", "\x1b[1mab\x1b[0m  x\n")


@pytest.mark.parametrize(
    ("is_terminal", "environment", "width", "styles"),
    [
        (False, {}, FILE_WIDTH, set()),
        (False, {"COLUMNS": "120"}, 120, set()),
        (True, {"COLUMNS": "90"}, 90, {"bold", "dim", "yellow", "blue"}),
        (True, {"COLUMNS": "90", "NO_COLOR": "1"}, 90, {"bold", "dim"}),
        (True, {"COLUMNS": "90", "TERM": "dumb"}, 90, set()),
    ],
)
def test_a_result_is_laid_out_for_where_it_goes(
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
    environment: dict[str, str],
    width: int,
    styles: set[str],
) -> None:
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    screen = Printer().screen()
    assert (screen.width, set(screen.codes)) == (width, styles)
    assert Printer().screen(Path("report.txt")) == Screen(FILE_WIDTH)
