from __future__ import annotations

import pytest

from dnnbench.text.chart import Series, chart_text
from dnnbench.text.screen import Screen

TICKS_S = [0.0, 1.0, 2.0]


def chart(*series: Series, epochs: list[int], size: tuple[int, int] = (40, 13)) -> list[str]:
    text = chart_text(
        series, Screen(size[0]), size=size, x_ticks=epochs, y_ticks=TICKS_S, x_label="epoch"
    )
    return text.splitlines()


def places(lines: list[str], sign: str) -> list[tuple[int, int]]:
    return [(row, at) for row, line in enumerate(lines) for at, c in enumerate(line) if c == sign]


@pytest.mark.parametrize("size", [(24, 6), (40, 13), (100, 19)])
@pytest.mark.parametrize("epochs", [[1], [1, 2], list(range(1, 201))])
def test_a_chart_fills_its_size_and_holds_every_point(
    epochs: list[int], size: tuple[int, int]
) -> None:
    ends = [Series("●", "blue", {epochs[0]: 0.0}), Series("●", "blue", {epochs[-1]: 2.0})]
    lines = chart(*ends, epochs=epochs, size=size)
    assert len(lines) == size[1]
    assert max(map(len, lines)) == size[0]
    assert {len(line) for line in lines[:-2]} == {size[0]}
    assert lines[0].endswith("┐")
    found = places(lines, "●")
    assert {row for row, _ in found} == {1, size[1] - 4}  # the rows of the last and first tick
    assert min(at for _, at in found) > lines[0].index("┌")
    assert max(at for _, at in found) < lines[0].index("┐")


def test_values_lie_in_the_rows_of_their_ticks_and_under_their_epochs() -> None:
    lines = chart(Series("x", "green", {1: 0, 2: 1, 3: 2}), epochs=[1, 2, 3])
    ticks = lines[-2]
    for (row, at), label, epoch in zip(places(lines, "x"), "210", "321", strict=True):
        assert lines[row].startswith(f"{label}┤")
        assert ticks[at] == epoch
        assert lines[-3][at] == "┬"
    assert lines[-1].strip() == "epoch"


def test_a_level_crosses_the_chart_and_later_series_are_on_top() -> None:
    lines = chart(
        Series("╌", "red", level=1.0),
        Series("o", "blue", {1: 1.0}),
        Series("x", "green", {1: 1.0}),
        epochs=[1, 2],
    )
    (crossed,) = [line for line in lines if "╌" in line]
    inside = crossed[crossed.index("┤") + 1 : -1]
    assert inside.count("x") == 1
    assert set(inside) == {"x", "╌"}


def test_labels_of_many_ticks_never_touch() -> None:
    lines = chart(Series("x", "green", {1: 1.0}), epochs=list(range(1, 101)))
    labels = lines[-2].split()
    assert labels[0] == "1"
    assert labels == sorted(set(labels), key=int)
    assert all(1 <= int(label) <= 100 for label in labels)


def test_a_series_has_its_color_where_the_screen_has_colors() -> None:
    series = Series("x", "green", {1: 1.0})

    def drawn(screen: Screen) -> str:
        return chart_text(
            [series], screen, size=(40, 13), x_ticks=[1], y_ticks=TICKS_S, x_label="epoch"
        )

    assert "\x1b[32mx\x1b[0m" in drawn(Screen(40, is_styled=True, is_colored=True))
    assert "\x1b" not in drawn(Screen(40))
