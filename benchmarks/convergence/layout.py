"""Numbers and tables as docs/convergence.md has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.analysis.stats import Estimate

NONE = "-"


def estimate_text(value: Estimate | None, digits: int = 2) -> str:
    """Write a mean with the half-width of its interval."""
    if value is None:
        return NONE
    spread = "" if value.half_width is None else f" ± {value.half_width:.{digits}f}"
    return f"{value.mean:.{digits}f}{spread}"


def difference_text(difference: float) -> str:
    """Write a difference in percentage points with its sign; none at what rounds to zero."""
    text = f"{difference:+.2f}"
    return text if float(text) else text[1:]


def p_text(value: float) -> str:
    """Write a p value."""
    return "0.0001 or less" if value < 1e-4 else f"{value:.2g}"  # noqa: PLR2004 - digits to show


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay out rows, of which some may lack cells, as a table."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = [{name: row.get(name, "") for name in columns} for row in rows]
    return tabulate(table, headers="keys", tablefmt="github", disable_numparse=True)
