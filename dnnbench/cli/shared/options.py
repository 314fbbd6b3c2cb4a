"""Options shared by commands: those of every command, and those that mirror dnnbench.toml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dnnbench.cli.shared.completion import completer
from dnnbench.cli.shared.cures import finding_options
from dnnbench.settings.hostlists import sources
from dnnbench.settings.schema import BY_PROFILE, settings
from dnnbench.settings.values import check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.settings.setting import Field

    _Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_DIRECTORY: Final = "cluster.directory"


def common_options(
    config_help: str = "Settings file.  [default: dnnbench.toml, if it exists]",
) -> _Decorator:
    """Add ``--config``, passed to the command, and ``--debug`` and ``--quiet`` for the printer."""
    config = click.Path(path_type=Path, dir_okay=False)
    options = (
        click.option(
            "--config",
            "config_path",
            type=config,
            metavar="FILE",
            help=config_help,
            callback=named_file,
        ),
        click.option("--debug", **_flag("debug"), help="Print the traceback of an error."),
        click.option("-q", "--quiet", **_flag("quiet"), help="Print results and errors only."),
    )
    return functools.partial(_decorated, options)


def hosts_options(default: str = "[[hosts]]") -> _Decorator:
    """Add the options that select hosts; the command gets ``hosts``, a `HostsChoice`.

    Args:
        default: hosts if none of the options is given, for the help.
    """
    options = (
        click.option(
            sources.HOSTS,
            metavar="NAME,...",
            help=f"Hosts, each as [user@]name[:port].  [default: {default}]",
        ),
        click.option(sources.HOSTFILE, metavar="FILE", help="Hosts from an Open MPI host file."),
        click.option(
            sources.INVENTORY,
            metavar="FILE",
            help="Hosts from an Ansible inventory (INI, or JSON of `ansible-inventory --list`).",
        ),
        click.option(
            sources.SLURM, is_flag=True, help="Hosts of the Slurm job in which this command runs."
        ),
        click.option(
            sources.GROUP,
            metavar="NAME",
            help="Group of the inventory.  [default: the one with every host]",
        ),
        click.option(
            sources.CONNECT,
            metavar="TEMPLATE",
            help="Way to all hosts: ssh, local, or a command such as "
            "'podman exec -i {name} {command}'.  [default: each host's own, or ssh]",
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            choice = {name: given.pop(name) for name in sources.HostsChoice.__struct_fields__}
            hosts = sources.HostsChoice(**choice)
            directory = settings()[_DIRECTORY]
            printer: Printer = click.get_current_context().obj
            printer.find_hosts_with(
                finding_options(
                    {f"--{name}": value for name, value in choice.items()}
                    | {"--config": given.get("config_path")}
                    | {directory.flags[0]: given.get(_parameter(directory))}
                )
            )
            return command(*args, hosts=hosts, **given)

        return _decorated(options, call)

    return decorate


def settings_options(name: str) -> _Decorator:
    """Add an option for each setting that a command takes.

    Args:
        name: of the command, as in ``Setting.commands``; it gets ``settings``, key -> text, None
            if an option is not given.
    """
    fields = [field for field in settings().values() if name in field.setting.commands]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*args: Any, **options: Any) -> Any:
            given = {field.key: options.pop(_parameter(field)) for field in fields}
            return command(*args, settings=given, **options)

        return _decorated([_option(field) for field in fields], call)

    return decorate


def checked_option(
    name: str, kind: Any, metavar: str, text: str, default: str | None = None
) -> _Decorator:
    """Return an option whose text is checked as a setting's; not given, it is None."""

    def checked(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
        return None if value is None else check_text(kind, value, name)

    return click.option(name, metavar=metavar, help=text, default=default, callback=checked)


def named_file(_ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a path without a file name, such as one from an empty shell variable."""
    if path is not None and not path.name:
        raise click.BadParameter("expected the name of a file")
    return path


def _decorated(options: Sequence[_Decorator], command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options to a command, in the order in which its help shows them."""
    for option in reversed(options):
        command = option(command)
    return command


def _option(field: Field) -> _Decorator:
    flags, text = "/".join(field.flags), field.setting.help + _default_text(field)
    if field.kind_is(bool):
        return click.option(flags, _parameter(field), default=None, help=text)
    complete = completer(field)
    return click.option(
        flags, _parameter(field), metavar=field.metavar, help=text, shell_complete=complete
    )


def _parameter(field: Field) -> str:
    return field.key.replace(".", "__")


def _default_text(field: Field) -> str:
    default = "the profile's" if field.key in BY_PROFILE else field.default_text
    return "" if field.default is False else f"  [default: {default}]"


def _flag(name: str) -> dict[str, Any]:
    """Return a flag that sets an attribute of the printer at once, so that later errors obey it."""

    def set_it(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        setattr(ctx.obj, name, value)

    return {"is_flag": True, "is_eager": True, "expose_value": False, "callback": set_it}
