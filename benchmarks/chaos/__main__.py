"""Faults at random moments of real sweeps, from a seed to a table in docs/reliability.md.

``run`` injects them and writes what it found, ``document`` puts the table into the document. Needs
root, for network and mount namespaces of its own, OpenSSH and nftables.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.chaos.faults import QUICK
from benchmarks.chaos.records import read
from benchmarks.chaos.sections import sections, table
from benchmarks.chaos.suite import Options, Suite
from benchmarks.document import fill_sections
from benchmarks.processes import BenchmarkError
from dnnbench.errors import EXIT_INTERRUPTED
from dnnbench.sweep.documents import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEED, _FAULTS, _QUICK_FAULTS, _JOBS = 2017, 200, 12, 2
_DOCUMENT = Path("docs") / "reliability.md"
_FIGURES = Path("docs") / "reliability.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one of the commands and return the exit code."""
    given = _parser().parse_args(arguments)
    # All of them end the processes started. None is ignored, or what is started would do so, too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return int(given.command(given))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos", description=(__doc__ or "").partition("\n")[0]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    runs = commands.add_parser("run", help="inject faults; print a table of what came of them")
    runs.set_defaults(command=_run)
    runs.add_argument("--seed", type=int, default=_SEED, help="default: %(default)s")
    runs.add_argument(
        "--faults", type=int, help=f"number of faults; default: {_FAULTS}, quick {_QUICK_FAULTS}"
    )
    runs.add_argument(
        "--jobs", type=int, default=_JOBS, help="sweeps side by side; default: %(default)s"
    )
    runs.add_argument("--quick", action="store_true", help="a few faults, in about a minute")
    runs.add_argument(
        "--only", nargs="+", default=(), metavar="TEXT", help="faults with this in their names"
    )
    runs.add_argument("--figures", type=Path, metavar="FILE", help="write what was found; resumed")

    runs.add_argument(
        "--again", action="store_true", help="repeat what failed in an earlier run of --figures"
    )

    documents = commands.add_parser("document", help="fill in the document")
    documents.set_defaults(command=_document)
    documents.add_argument("--figures", type=Path, default=_FIGURES, metavar="FILE")
    documents.add_argument("--document", type=Path, default=_DOCUMENT, metavar="FILE")
    return parser


def _run(given: argparse.Namespace) -> int:
    faults = given.faults or (_QUICK_FAULTS if given.quick else _FAULTS)
    only = tuple(given.only) or (QUICK if given.quick else ())
    figures, again = given.figures, given.again
    suite = Suite(Options(given.seed, faults, given.jobs, given.quick, only, figures, again))
    try:
        figures = suite.run()
    finally:
        print(table(suite.figures()))
    return 0 if all(record.is_survived for record in figures.records) else 1


def _document(given: argparse.Namespace) -> int:
    text = given.document.read_text(encoding="utf-8")
    write_whole(given.document, fill_sections(text, sections(read(given.figures))).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
