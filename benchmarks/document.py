"""Put figures into docs/performance.md: ``python -m benchmarks.document all.json FILE``.

A section ``<!-- figures: Epoch time -->`` … ``<!-- end -->`` is replaced by the tables of the
result of that name, ``<!-- figures: machine -->`` by a line about the machine.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.harness import Report, as_markdown
from dnnbench.sweep.documents import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

MACHINE = "machine"
_SECTION = re.compile(r"(<!-- figures: (?P<name>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(document: str, report: Report) -> str:
    """Return the document with the figures of a report; sections without figures stay."""
    texts = {result.name: as_markdown(result) for result in report.results}
    texts[MACHINE] = _machine(report)
    return fill_sections(document, texts)


def fill_sections(document: str, texts: Mapping[str, str]) -> str:
    """Return the document with these texts in the sections of their names; others stay."""

    def replaced(section: re.Match[str]) -> str:
        text = texts.get(section["name"])
        return f"{section[1]}\n{text}\n{section[3]}" if text else section[0]

    return _SECTION.sub(replaced, document)


def _machine(report: Report) -> str:
    before = report.before
    versions = ", ".join(f"{name} {version}" for name, version in before.versions.items())
    load = f"{before.load_average[0]:.1f}"
    return (
        f"{before.taken_at}: {before.cpu_model}, {before.cores_usable:g} cores, "
        f"{before.memory_bytes / 2**30:.0f} GiB, {before.kernel}, Python {before.python}, "
        f"{versions}, commit {before.git_commit}; load average before: {load}."
        + (" **Quick: these figures mean nothing.**" if report.quick else "")
        + "\n"
    )


def main() -> None:
    """Fill the file with the figures of all reports and the machine of the last one."""
    *sources, target = map(Path, sys.argv[1:])
    text = target.read_text()
    for source in sources:
        text = fill(text, msgspec.json.decode(source.read_bytes(), type=Report))
    write_whole(target, text.encode())


if __name__ == "__main__":
    main()
