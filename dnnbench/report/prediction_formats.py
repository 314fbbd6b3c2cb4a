"""The formats of a prediction, one entry each; layout libraries are imported when one is chosen."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.report import prediction as tables
from dnnbench.text.safe import csv_field, json_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.analysis.prediction import Prediction
    from dnnbench.analysis.rehearsed import RehearsedGrowth
    from dnnbench.analysis.worthwhile import PublishedFit, Threshold
    from dnnbench.text.screen import Screen

JSON_VERSION = 1


class Forecast(NamedTuple):
    """A prediction with its limits and its check."""

    prediction: Prediction
    thresholds: list[Threshold]
    published: list[PublishedFit]
    rehearsal: list[RehearsedGrowth]


def _terminal(forecast: Forecast, screen: Screen) -> str:
    from dnnbench.text.tables import fields_text, table_text

    head = fields_text(
        tables.facts(forecast.prediction), screen, tables.warnings(forecast.prediction)
    )
    shown = tables.prediction_tables(*forecast)
    return "".join([head, *(table_text(table, screen) for table in shown)])


def _markdown(forecast: Forecast, _screen: Screen) -> str:
    from dnnbench.text.safe import markdown
    from dnnbench.text.tables import fields_markdown, table_markdown

    found = tables.warnings(forecast.prediction)
    parts = [
        f"# dnnbench prediction: {markdown(forecast.prediction.inputs.workload.sweep)}",
        fields_markdown(tables.facts(forecast.prediction)),
        *(f"> **Warning**: {markdown(warning)}" for warning in found),
        *map(table_markdown, tables.prediction_tables(*forecast)),
    ]
    return "\n\n".join(parts) + "\n"


def _csv(forecast: Forecast, _screen: Screen) -> str:
    rows = forecast.prediction.rows
    text = io.StringIO()
    names = ["sweep", *(type(rows[0]).__struct_fields__ if rows else ())]
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = {"sweep": forecast.prediction.inputs.workload.sweep, **msgspec.structs.asdict(row)}
        writer.writerow({name: csv_field(value) for name, value in values.items()})
    return text.getvalue()


def _json(forecast: Forecast, _screen: Screen) -> str:
    content = msgspec.to_builtins(forecast._asdict())
    return json_text({"dnnbench_prediction": JSON_VERSION, **content})


FORMATS: Final[dict[str, Callable[[Forecast, Screen], str]]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
}
