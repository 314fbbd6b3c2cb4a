"""The command line's own errors, such as an unknown option, in the form of all others."""

from __future__ import annotations

import click

from dnnbench.errors import ConfigError, nearest


def as_config_error(error: click.ClickException) -> ConfigError:
    """Return an error of click's with its place: an option, an argument or a command."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    command = ctx.command_path if ctx else None
    problem = _decapitalized(error.message.strip().rstrip("."))
    remedy = f"see `{command} --help`" if command else None
    where = command
    if isinstance(error, click.NoSuchOption):
        where, problem = error.option_name, f"{command or 'this command'} has no such option"
        remedy = nearest(error.option_name, error.possibilities or ()) or remedy
    elif isinstance(error, click.BadOptionUsage):
        where, problem = error.option_name, problem.removeprefix(f"option {error.option_name!r} ")
    elif isinstance(error, click.BadParameter):
        where = _name(error)
        if isinstance(error, click.MissingParameter):
            problem = "is missing"
    return ConfigError(problem, where=where, remedy=remedy)


def _name(error: click.BadParameter) -> str | None:
    """Return the longest name of an option, or an argument's name as its help has it."""
    if isinstance(error.param_hint, str):
        return error.param_hint
    if isinstance(error.param, click.Option):
        return max(error.param.opts, key=len)
    return error.param.human_readable_name.strip("[]") if error.param else None


def _decapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]
