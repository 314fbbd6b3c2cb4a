from __future__ import annotations

from typing import Any

import msgspec
import pytest
from support.factories import (
    make_context,
    make_hosts,
    make_order,
    make_outcome,
    make_sweep,
    make_use,
)

from dnnbench.analysis.analyse import analyse
from dnnbench.analysis.disturbance import StartLoad, load_warnings, use_warnings
from dnnbench.report.verdict import verdict_fields

RARELY, SECOND = "of a machine's CPU time in 1 of 2 trials", "(n04-downpour-r2)"


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({}, None),
        ({"busy_s": 11.9}, None),
        ({"busy_s": 17.0}, f"other processes used more than 10 % {RARELY}, up to 35 % {SECOND}"),
        ({"steal_s": 1.0}, f"the hypervisor withheld more than 2 % {RARELY}, up to 5 % {SECOND}"),
        ({"clock_mhz": (3000.0, 2800.0)}, None),
        (
            {"clock_mhz": (3000.0, 2000.0)},
            "the clock of localhost changed between 2.0 and 3.0 GHz",
        ),
    ],
)
def test_a_machine_that_others_used_is_warned_of(
    changes: dict[str, Any], warning: str | None
) -> None:
    outcomes = [
        make_outcome(make_order(repeat=1), use={"localhost": make_use()}),
        make_outcome(make_order(repeat=2), use={"localhost": make_use(**changes)}),
        make_outcome(make_order(repeat=3)),  # an older one
    ]
    analysis = analyse(outcomes, make_context())
    assert analysis.warnings == ([warning] if warning else [])
    assert ("Beware" in dict(verdict_fields(analysis))) == (warning is not None)


def test_hosts_on_one_machine_are_not_others_to_each_other() -> None:
    both = {
        "node1": make_use(busy_s=18.0, roles_s=9.0),
        "node2": make_use(busy_s=18.0, roles_s=9.0),
    }
    outcome = make_outcome(make_order(), use=both)
    assert list(use_warnings([outcome], make_hosts(2, machine="node1"))) == []
    (warning,) = use_warnings([outcome], make_hosts(2))
    assert "in 1 of 1 trials, up to 45 %" in warning


def test_a_machine_that_was_busy_before_the_sweep_is_warned_of() -> None:
    loads = [StartLoad("localhost", 6.2, 2), StartLoad("node2", 0.9, 2)]
    assert list(load_warnings(loads)) == [
        "localhost was busy before the sweep: load 6.2 on 2 cores"
    ]
    analysis = analyse(make_sweep(), make_context(start_loads=loads))
    assert analysis.is_disturbed
    assert dict(verdict_fields(analysis))["Beware"].startswith("Others used the machines")


def test_repeats_that_lie_far_apart_are_warned_of() -> None:
    outcomes = [
        make_outcome(make_order(repeat=repeat), epoch_s)
        for repeat, epoch_s in ((1, 3.0), (2, 3.1), (3, 4.5))
    ]
    analysis = analyse(outcomes, make_context())
    assert analysis.warnings == ["repeats of 1 cell differ, by up to 50 % (downpour at 4 nodes)"]
    assert not analysis.is_disturbed
    near = [msgspec.structs.replace(o) for o in outcomes[:2]]
    assert analyse(near, make_context()).warnings == []
