from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from support.factories import (
    make_context,
    make_diverged,
    make_failed,
    make_not_run,
    make_order,
    make_outcome,
    make_sweep,
    make_sweep_on_hosts,
)
from support.json_schema import problems

from dnnbench.analysis.analyse import Analysis, analyse
from dnnbench.report import export, schema
from dnnbench.trial.spec import ProtocolSpec

SCHEMA = schema.report_schema()


def on_hosts() -> Analysis:
    return analyse(*make_sweep_on_hosts())


def with_losses() -> Analysis:
    lost = [
        make_failed(make_order(4, repeat=4)),
        make_diverged(make_order(8, repeat=4)),
        make_not_run(make_order(12, repeat=4)),
    ]
    return analyse([*make_sweep(), *lost], make_context())


def of_a_grid() -> Analysis:
    orders = [
        make_order(
            4, ProtocolSpec(name="downpour", learning_rate=rate), repeat, varied=("learning_rate",)
        )
        for rate in (0.1, 0.3)
        for repeat in (1, 2)
    ]
    return analyse([make_outcome(order) for order in orders], make_context(planned_nodes=[4]))


def of_nothing() -> Analysis:
    return analyse([make_failed(make_order(4))], make_context())


def document(analysis: Analysis) -> Any:
    return json.loads(export.as_json(analysis))


@pytest.mark.parametrize("make", [on_hosts, with_losses, of_a_grid, of_nothing])
def test_every_report_is_valid(make: Any) -> None:
    assert problems(document(make()), SCHEMA, SCHEMA) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dnnbench_report": 2}, "$.dnnbench_report: not 1"),
        ({"more": 1}, "$: unknown more"),
        ({"cells": [{}]}, "$.cells[0]: no protocol"),
        ({"warnings": [1]}, "$.warnings[0]: not string"),
        ({"is_disturbed": 1}, "$.is_disturbed: not boolean"),
        ({"settings": {"epochs": 0}}, "$.settings.epochs: not at least 1"),
        ({"settings": {"sweep": "x" * 1001}}, "$.settings.sweep: not of a length up to 1000"),
    ],
)
def test_a_document_of_another_form_is_not(change: dict[str, Any], problem: str) -> None:
    other = copy.deepcopy(document(on_hosts())) | change
    assert problem in problems(other, SCHEMA, SCHEMA)


def test_the_schema_has_every_field_of_the_document_and_nothing_private() -> None:
    found = document(on_hosts())
    assert SCHEMA["properties"].keys() == found.keys()
    assert set(SCHEMA["required"]) <= found.keys()
    parts = SCHEMA["$defs"]
    assert parts["Cell"]["properties"].keys() == found["cells"][0].keys()
    assert parts["Context"]["properties"].keys() == found["context"].keys()
    assert parts["DataSpec"]["properties"].keys() == found["settings"]["data"].keys()
    assert json.loads(schema.as_json()) == json.loads(json.dumps(SCHEMA))
