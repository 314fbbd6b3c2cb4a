"""Convergence of every protocol, over learning rates and nodes, from real trials to a document.

``run`` runs the trials that are still to run, ``collect`` writes the figures of all stored ones to
a file, and ``document`` puts them into docs/convergence.md and draws its pictures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.convergence.experiment import QUICK, Experiment, run
from benchmarks.convergence.sections import sections
from benchmarks.convergence.trials import collect, read, write
from benchmarks.document import fill_sections
from benchmarks.processes import BenchmarkError
from dnnbench.data.locate import locate
from dnnbench.errors import EXIT_INTERRUPTED, DnnbenchError
from dnnbench.sweep.documents import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESULTS = Path("results") / "convergence"
_DOCUMENT = Path("docs") / "convergence.md"
_FIGURES = Path("docs") / "convergence.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one of the commands and return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.command(given))
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (BenchmarkError, DnnbenchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.convergence",
        description=(__doc__ or "").partition("\n")[0],
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    runs = commands.add_parser("run", help="run the trials that are still to run")
    runs.set_defaults(command=_run)
    default = Experiment()
    runs.add_argument("--quick", action="store_true", help="only check that it works")
    for name in ("datasets", "nodes", "rates", "protocols"):
        values = getattr(default, name)
        runs.add_argument(
            f"--{name}",
            type=type(values[0]),
            nargs="+",
            help=f"default: {' '.join(map(str, values))}",
        )
    for name in ("seeds", "epochs"):
        runs.add_argument(f"--{name}", type=int, help=f"default: {getattr(default, name)}")
    runs.add_argument(
        "--data-dir",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="directory of a data set's files; by default the usual places",
    )
    _add_results_dir(runs)

    collects = commands.add_parser("collect", help="write the figures of all stored trials")
    collects.set_defaults(command=_collect)
    _add_results_dir(collects)
    _add_figures(collects)

    documents = commands.add_parser("document", help="fill in the document, draw its pictures")
    documents.set_defaults(command=_document)
    _add_figures(documents)
    documents.add_argument(
        "--document", type=Path, default=_DOCUMENT, metavar="FILE", help=f"default: {_DOCUMENT}"
    )
    return parser


def _add_results_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--results-dir", type=Path, default=_RESULTS, metavar="DIR", help=f"default: {_RESULTS}"
    )


def _add_figures(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--figures", type=Path, default=_FIGURES, metavar="FILE", help=f"default: {_FIGURES}"
    )


def _run(given: argparse.Namespace) -> int:
    changes = {
        name: tuple(value) if isinstance(value, list) else value
        for name in ("datasets", "nodes", "rates", "protocols", "seeds", "epochs")
        if (value := getattr(given, name)) is not None
    }
    experiment = msgspec.structs.replace(QUICK if given.quick else Experiment(), **changes)
    places = dict(entry.split("=", 1) for entry in given.data_dir)
    data = {
        name: locate(name, Path(places[name]) if name in places else None, explicit=True).order
        for name in experiment.datasets
    }
    failed = run(experiment, given.results_dir, data)
    for line in failed:
        print(line, file=sys.stderr)
    if failed:
        print(f"{len(failed)} trials failed; the same command repeats them", file=sys.stderr)
    return 1 if failed else 0


def _collect(given: argparse.Namespace) -> int:
    write(collect(given.results_dir), given.figures)
    return 0


def _document(given: argparse.Namespace) -> int:
    from benchmarks.convergence.pictures import draw  # Matplotlib takes a while to import

    figures = read(given.figures)
    text = given.document.read_text(encoding="utf-8")
    write_whole(given.document, fill_sections(text, sections(figures)).encode())
    draw(figures, given.document.parent / "images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
