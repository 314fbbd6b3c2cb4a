from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from support.factories import (
    make_context,
    make_failed,
    make_hosts,
    make_order,
    make_outcome,
    make_sweep,
    make_sweep_on_hosts,
    spread,
)

from dnnbench.analysis.analyse import analyse
from dnnbench.analysis.learning import learning_curves
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.report.figures import accuracy, scaling
from dnnbench.report.figures.drawing import FIGURES, SUFFIXES, default_figure
from dnnbench.report.figures.picture import STYLES, Subject, style_of
from dnnbench.report.files import write_figure
from dnnbench.trial.protocols import PROTOCOLS
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.trial.outcome import TrialOutcome


def subject_of(outcomes: list[TrialOutcome], nodes: int | None = None) -> Subject:
    context = make_context(hosts=make_hosts(12), host_cores=48, planned_nodes=[], planned_repeats=0)
    return Subject(analyse(outcomes, context), outcomes, nodes)


def on_hosts(repeats: int = 3) -> list[TrialOutcome]:
    outcomes, _ = make_sweep_on_hosts(repeats)
    return [msgspec.structs.replace(outcome, parameters=55_050) for outcome in outcomes]


def drawn(subject: Subject, name: str, tmp_path: Path) -> str:
    path = tmp_path / f"{name}.svg"
    write_figure(subject, path, name)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_saved_whole_and_twice_the_same(
    name: str, suffix: str, tmp_path: Path
) -> None:
    subject = subject_of(on_hosts(2))
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_figure(subject, first, name)
    write_figure(subject, second, name)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_protocols_differ_in_color_and_in_marker() -> None:
    styles = [style_of(name) for name in PROTOCOLS]
    for part in zip(*styles, strict=True):
        assert len(set(part)) == len(PROTOCOLS), part


@pytest.mark.parametrize(("page", "least"), [("#ffffff", 3.0), ("#15181c", 3.0)])
def test_every_color_stands_out_from_its_page(page: str, least: float) -> None:
    """WCAG 2.2, 1.4.11: 3 to 1 for what a graphic needs to be understood."""

    def luminance(color: str) -> float:
        parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for style in STYLES:
        color = style.color if page == "#ffffff" else style.on_dark
        low, high = sorted((luminance(color), luminance(page)))
        assert (high + 0.05) / (low + 0.05) >= least, color


def test_the_scaling_figure_holds_what_was_measured_predicted_and_published(tmp_path: Path) -> None:
    subject = subject_of(on_hosts())
    shown = scaling.contents(subject.analysis, subject.outcomes)
    assert {name: [cell.nodes for cell in of] for name, of in shown.measured.items()} == {
        "downpour": [4, 8, 12],
        "dc-sgd": [4, 8, 12],
    }
    assert [row.nodes for row in shown.predicted["dc-sgd"]] == list(range(4, 13))
    assert shown.not_predicted == ""
    text = drawn(subject, "scaling", tmp_path)
    for entry in ("Downpour SGD", "ideal", "prediction", "published mean", "95 % confidence"):
        assert entry in text
    assert "one process" not in text


def test_the_reason_stands_where_nothing_is_published_or_predicted(tmp_path: Path) -> None:
    outcomes = make_sweep(2)
    text = drawn(Subject(analyse(outcomes, make_context()), outcomes), "scaling", tmp_path)
    assert "No published means: 4, 8 and 12 nodes are not on hosts of their own." in text
    assert "No prediction: the sweep does not hold the number of the model" in text
    assert "published mean<" not in text
    assert ">prediction<" not in text


@pytest.mark.parametrize("epochs", ["replicated", "sharded"])
def test_the_ideal_of_the_note_is_that_of_the_epoch(epochs: str) -> None:
    outcomes = [
        make_outcome(make_order(nodes, "downpour", epoch_definition=epochs)) for nodes in (4, 8)
    ]
    picture = scaling.picture(Subject(analyse(outcomes, make_context()), outcomes))
    assert picture
    expected = {"replicated": "constant seconds per epoch", "sharded": "per epoch / workers"}
    assert expected[epochs] in " ".join(picture.notes)


def test_one_process_is_a_line_of_its_own(tmp_path: Path) -> None:
    order = make_order(1, "sequential", parameter_servers=0)
    alone = make_outcome(order, 2.0, placement={"worker:0": "node1"})
    subject = subject_of([*on_hosts(2), alone])
    assert "one process" in drawn(subject, "scaling", tmp_path)
    curves = accuracy.contents(subject.analysis, subject.outcomes)
    assert list(curves) == [4, 8, 12]
    assert all("sequential" in of_protocols for of_protocols in curves.values())


def test_a_learning_curve_is_accuracy_over_the_time_of_the_first_worker() -> None:
    orders = [make_order(4, repeat=repeat, epochs=3) for repeat in (1, 2)]
    outcomes = [make_outcome(order, 3.0 + order.repeat) for order in orders]
    (curve,) = learning_curves([*outcomes, make_failed(make_order(4, repeat=3))]).values()
    # Worker 0 is 10 ms faster than the mean; the middle epoch takes the mean.
    assert [point.epoch for point in curve] == [1, 2, 3]
    assert [point.seconds.mean for point in curve] == pytest.approx([4.47, 8.96, 13.47])
    assert [point.test_accuracy.mean for point in curve] == pytest.approx([0.9, 0.91, 0.92])
    assert curve[0].seconds.n == 2
    assert list(learning_curves(outcomes)) == [CellKey(4, "downpour")]


def test_of_many_node_counts_four_panels_are_drawn_with_both_ends() -> None:
    outcomes = [make_outcome(make_order(nodes)) for nodes in range(2, 12)]
    curves = accuracy.contents(analyse(outcomes, make_context()), outcomes)
    assert list(curves) == [2, 5, 8, 11]


@pytest.mark.parametrize(
    ("counts", "nodes", "expected"),
    [((4, 8), None, "scaling"), ((4, 8), 8, "epochs"), ((4,), None, "epochs")],
)
def test_the_default_figure_follows_the_question(
    counts: tuple[int, ...], nodes: int | None, expected: str
) -> None:
    outcomes = [
        make_outcome(make_order(count), placement=spread(make_order(count))) for count in counts
    ]
    assert default_figure(subject_of(outcomes, nodes)) == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("scaling", "no protocol succeeded with several node counts"),
        ("accuracy", "no successful trial has an accuracy"),
        ("epochs", "no trial with 4 nodes succeeded"),
    ],
)
def test_nothing_to_draw_and_other_formats_are_refused(
    name: str, reason: str, tmp_path: Path
) -> None:
    outcomes = [make_failed(make_order(4))]
    subject = Subject(analyse(outcomes, make_context(planned_nodes=[4])), outcomes)
    with pytest.raises(ResultsError, match=reason):
        write_figure(subject, tmp_path / "figure.png", name)
    with pytest.raises(ConfigError, match=r"cannot write a figure in the format '\.pdf'"):
        write_figure(subject, tmp_path / "figure.pdf", name)
    assert list(tmp_path.iterdir()) == []
