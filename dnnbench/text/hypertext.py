"""Tables and fields as HTML, and the page around them."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

from dnnbench.text.safe import html

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dnnbench.text.tables import Column, Fields, Table

_CODE: Final = re.compile(r"`([^`]+)`")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Makes a browser refuse whatever a page would load or run."""

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --text: #1b1e23; --soft: #555c66; --line: #d4d8de; --band: #f4f6f8;
  --accent: #0b5cad; --warning: #8a4b00; --faint: #8a8f98;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15181c; --text: #e6e8eb; --soft: #a9b0ba; --line: #3a4049; --band: #1e2228;
    --accent: #7db8f5; --warning: #ffb866; --faint: #8a8f98;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1rem; margin: 0; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
.verdict {
  background: var(--band); border-left: 4px solid var(--accent); padding: .9rem 1.1rem;
}
.verdict h2 { margin-top: 0; }
.warning { color: var(--warning); margin: .75rem 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; vertical-align: top; }
th { font-weight: 600; border-bottom: 1px solid var(--soft); }
th.group { border-bottom: 0; text-align: center; }
.text { text-align: left; }
td.text { max-width: 34rem; overflow-wrap: break-word; }
td:not(.text) { white-space: nowrap; }
tbody tr:nth-child(even) { background: var(--band); }
tfoot td { font-weight: 600; }
tfoot tr:first-child td { border-top: 1px solid var(--soft); }
ul.notes { color: var(--soft); font-size: .875rem; margin: .5rem 0; padding-left: 1.1rem; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; max-width: 52rem; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin: 0 0 .6rem; } }
@media print { main { max-width: none; } section, figure { break-inside: avoid; } }
"""


def page_html(title: str, style: str, sections: Iterable[str]) -> str:
    """Return a page that loads nothing and runs nothing; sections are finished HTML."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{html(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html(title)}</title>",
            f"<style>{STYLE}{style}</style>",
            "</head>",
            "<body>",
            "<main>",
            f"<h1>{html(title)}</h1>",
            *sections,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def section_html(title: str, *parts: str, kind: str = "") -> str:
    """Return a section with a heading; parts are finished HTML."""
    of_kind = f' class="{kind}"' if kind else ""
    return "\n".join([f"<section{of_kind}>", f"<h2>{html(title)}</h2>", *parts, "</section>"])


def table_html(table: Table) -> str:
    """Return a table as a section."""
    classes = [' class="text"' if column.is_text else "" for column in table.columns]

    def row(cells: Sequence[str]) -> str:
        filled = zip(classes, cells, strict=True)
        return f"<tr>{''.join(f'<td{of}>{text_html(text)}</td>' for of, text in filled)}</tr>"

    names = "".join(
        f'<th scope="col"{of}>{html(column.name)}</th>'
        for of, column in zip(classes, table.columns, strict=True)
    )
    parts = [
        '<div class="scroll">',
        "<table>",
        f"<thead>{_groups(table.columns)}<tr>{names}</tr></thead>",
        f"<tbody>{''.join(map(row, table.rows))}</tbody>",
        *([f"<tfoot>{''.join(map(row, table.totals))}</tfoot>"] if table.totals else []),
        "</table>",
        "</div>",
    ]
    return section_html(table.title, *parts, notes_html(table.notes))


def _groups(columns: Sequence[Column]) -> str:
    """Return the row of the headings that neighboring columns share; empty if there is none."""
    if not any(column.group for column in columns):
        return ""
    cells = []
    for name, of_group in groupby(columns, key=lambda column: column.group):
        span = len(list(of_group))
        heading = f'<th class="group" scope="colgroup" colspan="{span}">{html(name)}</th>'
        cells.append(heading if name else f'<td colspan="{span}"></td>')
    return f"<tr>{''.join(cells)}</tr>"


def fields_html(fields: Fields) -> str:
    """Return facts as a list of terms."""
    terms = (f"<dt>{html(name)}</dt><dd>{text_html(line)}</dd>" for name, line in fields)
    return "\n".join(["<dl>", *terms, "</dl>"])


def warnings_html(warnings: Iterable[str]) -> str:
    """Return warnings, one paragraph each."""
    return "\n".join(
        f'<p class="warning"><strong>Warning</strong>: {text_html(warning)}</p>'
        for warning in warnings
    )


def notes_html(notes: Iterable[str]) -> str:
    """Return notes as a list; empty if there are none."""
    entries = [f"<li>{text_html(note)}</li>" for note in notes]
    return "\n".join(['<ul class="notes">', *entries, "</ul>"]) if entries else ""


def text_html(text: str) -> str:
    """Return a text, which need not be safe, with its commands in the type of code."""
    return _CODE.sub(r"<code>\1</code>", html(text))
