"""The command line: its commands, and `main`, which turns errors into lines and exit codes."""

from __future__ import annotations

import errno
from importlib import import_module
from typing import Final

import click

import dnnbench
from dnnbench.cli.shared.printer import OutputClosedError, Printer
from dnnbench.cli.shared.streams import (
    check_directory,
    ensure_home,
    flush_or_discard,
    open_standard_streams,
)
from dnnbench.cli.shared.usage import as_config_error
from dnnbench.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_OK,
    ConfigError,
    DnnbenchError,
    ResultsError,
    nearest,
)

EXIT_OUTPUT_CLOSED: Final = 141
"""Exit code that a shell reports for a program killed by SIGPIPE."""

_UNWRITABLE: Final = (errno.EBADF, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EDQUOT)
"""Errors of writing to what is open: files have their own, so it is click, which prints help."""

_HELP_SHOWN: Final = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""A group without a command shows its help; click before 8.2 needs no exception for it."""

COMMANDS: Final = {
    "run": "Run a sweep of trials, or resume one.",
    "report": "Show the verdict on a sweep, and its figures.",
    "compare": "Compare a sweep with another one, or with Table 2.",
    "cost": "Show Table 1 and the cost of a sweep.",
    "predict": "Predict a sweep on other numbers of hosts.",
    "provision": "Install TensorFlow, dnnbench and the data on hosts.",
    "launch": "Start a cluster on hosts and keep it running.",
    "status": "Show the clusters running on hosts.",
    "stop": "Stop clusters on hosts.",
    "manifest": "Print Kubernetes objects whose pods are hosts.",
    "hosts": "Manage the SSH keys of hosts.",
    "init": "Write a commented dnnbench.toml.",
}
"""The first line of each command's help, kept here so that ``--help`` imports no command."""


class LazyGroup(click.Group):
    """A group whose commands are modules, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which a newcomer needs them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in COMMANDS:
            remedy = nearest(cmd_name, COMMANDS) or f"choose from {', '.join(COMMANDS)}"
            problem = f"there is no command {cmd_name!r}"
            raise ConfigError(problem, where=ctx.command_path, remedy=remedy)
        module = import_module(f"dnnbench.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `dnnbench run`, then `dnnbench report` and `dnnbench cost`.",
)
@click.version_option(dnnbench.__version__, prog_name="dnnbench", message="%(prog)s %(version)s")
def group() -> None:
    """Benchmark asynchronous parameter-server training.

    Compare Downpour SGD with Delay Compensated SGD on real TensorFlow clusters: time, accuracy and
    cost.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; every error is one line."""
    open_standard_streams()
    ensure_home()
    printer = Printer()
    try:
        code = _call(arguments, printer)
    except click.ClickException as error:
        if isinstance(error, _HELP_SHOWN):
            error.show()
        else:
            printer.error(f"error: {as_config_error(error)}")
        return error.exit_code
    except DnnbenchError as error:
        printer.traceback()
        printer.error(f"error: {error}")
        return error.exit_code
    except OutputClosedError:
        return EXIT_OUTPUT_CLOSED
    except (click.Abort, KeyboardInterrupt):
        printer.traceback()
        printer.error("interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, it is a bug
        printer.traceback()
        again = "" if printer.debug else "; run again with --debug for the traceback"
        printer.error(f"bug: {_bug_line(error)}{again}")
        return EXIT_BUG
    return code if isinstance(code, int) else EXIT_OK


def _call(arguments: list[str] | None, printer: Printer) -> object:
    """Run the command line; what the machine denies, such as space on a disk, is no bug."""
    try:
        check_directory()
        return group.main(arguments, prog_name="dnnbench", standalone_mode=False, obj=printer)
    except OSError as error:
        flush_or_discard()
        cause = error.strerror or type(error).__name__
        if error.filename is None and error.errno in _UNWRITABLE:
            raise ResultsError(f"cannot be written: {cause}", where="standard output") from error
        where = error.filename if isinstance(error.filename, str) else "this machine"
        raise ResultsError(f"cannot be used: {cause}", where=where) from error


def _bug_line(error: Exception) -> str:
    """Describe an unexpected exception and where it was raised."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    where = ""
    if traceback:
        from pathlib import Path  # not needed by `--help`

        path = Path(traceback.tb_frame.f_code.co_filename)
        where = f" ({path.parent.name}/{path.name}:{traceback.tb_lineno})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"
