"""What `status` and `stop` print of what stands on hosts, and how many bad hosts are told."""

from __future__ import annotations

import pytest
from support.factories import make_part

from dnnbench.cli import status, stop
from dnnbench.cli.shared.hosts import refuse_missing
from dnnbench.cli.shared.printer import Printer
from dnnbench.errors import HostError
from dnnbench.hosts.agents.clusters import Ended, Leftover
from dnnbench.text.screen import Screen
from dnnbench.text.tables import table_text


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith("node")]


def test_status_has_a_row_for_each_cluster_and_for_each_host_without_one() -> None:
    parts = {
        "node1": [make_part(), make_part(cluster="c2", attached=True, doing="trial")],
        "node2": [],
        "node3": [make_part(cluster="c3", lease_left_s=None, doing="does not answer")],
    }
    first, second, third, fourth = rows(table_text(status._parts(parts), Screen(200)))
    assert first[:3] == ["node1", "c1", "me@here"]
    assert first[-3:] == ["idle", "10", "min"]
    assert second[-3:] == ["trial", "in", "use"]
    assert third == ["node2", *["-"] * 6]
    assert fourth[-4:] == ["does", "not", "answer", "-"]


def test_status_of_leftovers_says_how_to_take_them_away() -> None:
    found = {"node1": [Leftover("c1", "node1", [7, 8]), Leftover("c2", "node1", [])], "node2": []}
    text = table_text(status._leftovers(found), Screen(200))
    assert rows(text) == [["node1", "c1", "7,", "8"], ["node1", "c2", "only", "files"]]
    assert "`dnnbench stop CLUSTER`" in text
    assert "There are none." in table_text(status._leftovers({"node2": []}), Screen(200))


def test_stop_says_of_each_host_what_ended_and_what_is_left() -> None:
    ended = {
        "node1": {"c1": Ended(3, [], [])},
        "node2": {"c1": Ended(1, [7, 8], [90])},
        "node3": {},
    }
    assert stop._text(ended, None).splitlines() == [
        "node1: cluster c1: 3 processes ended, none is left, every port is free",
        "node2: cluster c1: 1 process ended, processes still running: 7, 8; ports still in use: 90",
    ]


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        (None, "no host that answered has a cluster of yours\n"),
        ("c9", "no host that answered has cluster c9\n"),
    ],
)
def test_stop_says_that_there_was_nothing_to_end(cluster: str | None, text: str) -> None:
    assert stop._text({"node1": {}}, cluster) == text


def test_every_bad_host_has_a_line_of_its_own_and_the_last_ends_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printer = Printer()
    printer.quiet = True
    refuse_missing({}, printer)
    missing = {
        name: HostError("is down", where=name, remedy="switch it on") for name in ("b", "a", "c")
    }
    with pytest.raises(HostError, match=r"^c: is down; switch it on$"):
        refuse_missing(missing, printer)
    assert capsys.readouterr().err.splitlines() == [
        "dnnbench: error: b: is down; switch it on",
        "dnnbench: error: a: is down; switch it on",
    ]
