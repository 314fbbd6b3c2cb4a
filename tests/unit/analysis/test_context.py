from __future__ import annotations

import pytest

from dnnbench.analysis.context import profile_text
from dnnbench.settings.load import load


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "quick"),
        ({"train.epochs": 5}, "quick with epochs 5"),
        ({"train.learning_rate": 0.3}, "quick"),
        ({"sweep.profile": "paper", "sweep.repeats": 2}, "paper with repeats 2"),
        (
            {"sweep.profile": "delay", "train.learning_rate": 0.5, "sweep.nodes": "8,12"},
            "delay with nodes 8,12, learning rate 0.5",
        ),
    ],
)
def test_a_report_names_the_profile_and_what_was_changed_from_it(
    options: dict[str, object], text: str
) -> None:
    assert profile_text(load(None, {}, options).config) == text
