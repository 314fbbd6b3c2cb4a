"""Options that commands share: those of every command, and those that mirror dnnbench.toml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dnnbench.settings.hostlists import sources
from dnnbench.settings.load import option_name
from dnnbench.settings.schema import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


HELP: Final = {
    "train.model": ("NAME", "Model to train: mnist-dnn, or your own module:function."),
    "train.dataset": ("NAME", "mnist, fashion-mnist or synthetic-mnist."),
    "train.data_dir": ("DIR", "Directory with the data set's four IDX files."),
    "train.batch_size": ("N", "Examples of a step."),
    "train.learning_rate": ("X", "Learning rate."),
    "train.optimizer": ("sgd|adagrad", "How the parameter server applies a gradient."),
    "train.l2": ("X", "Strength of the L2 penalty on the kernels."),
    "train.dropout": ("X", "Dropout rate after each hidden layer."),
    "train.epoch": ("replicated|sharded", "What a worker's epoch passes over: all or its share."),
    "train.epochs": ("N", "Measured epochs of a trial."),
    "train.warmup_steps": ("N", "Steps of a worker before the measured ones."),
    "train.steps_per_run": ("N", "Steps unrolled into one session.run."),
    "sweep.nodes": ("N,N,...", "Node counts: parameter servers and workers together."),
    "sweep.parameter_servers": ("K", "Parameter servers, out of the same nodes."),
    "sweep.protocols": ("NAME,...", "downpour, dc-sgd or both."),
    "sweep.repeats": ("N", "Trials of each node count and protocol."),
    "sweep.seed": ("N", "Every other seed derives from it."),
    "sweep.results_dir": ("DIR", "Directory that sweeps are stored in."),
    "sweep.profile": ("quick|paper", "quick: 3 repeats x 2 epochs; paper: 20 x 20."),
    "protocol.compensation": ("constant|adaptive", "Kind of delay compensation."),
    "protocol.lambda0": ("X", "Lambda; by default 2.0 adaptive, 0.04 constant."),
    "protocol.mean_square_decay": ("X", "Decay of the mean square (adaptive)."),
    "protocol.epsilon": ("X", "Added to the mean square (adaptive)."),
    "run.ready_timeout_s": ("S", "Seconds until every task of a trial must be ready."),
    "run.stall_timeout_s": ("S", "Seconds without progress after which a trial has failed."),
    "run.trial_timeout_s": ("S", "Seconds after which a trial has failed."),
    "cluster.directory": ("DIR", "Directory on every host for all that dnnbench leaves there."),
    "cluster.ports": ("N-N", "First and last port that TensorFlow's servers may listen on."),
    "cluster.lease_s": ("S", "Seconds without a controller after which a cluster ends."),
    "cluster.share": ("", "Also use hosts that somebody else's cluster has taken."),
    "cluster.firewall": ("", "Admit only the cluster's own addresses to its ports."),
    "provision.python": ("NAME", "Interpreter on the hosts, by default the best there is."),
    "provision.index_url": ("URL", "Package index, by default each host's own."),
    "provision.wheels": ("DIR", "Local directory of wheels to push to hosts without an index."),
    "cost.price_book": ("NAME|FILE", "Price book."),
    "cost.machine": ("TYPE", "Machine type of every node."),
    "cost.usd_per_hour": ("USD", "A node's price an hour, instead of the book's."),
    "cost.target_accuracy": ("X", "Test accuracy, 0 to 1, whose cost is wanted."),
}
"""Key -> what its option takes, and its help. `dnnbench.settings.schema` checks what is given.

Keys that are not here have no option: they live in the file and the environment.
"""

_BY_PROFILE: Final = ("train.epochs", "sweep.repeats")


def common_options(
    config_help: str = "Settings.  [default: dnnbench.toml, if there is one]",
) -> _Decorator:
    """Add ``--config``, which the command gets, and ``--debug`` and ``--quiet`` for the printer."""
    config = click.Path(path_type=Path, dir_okay=False)
    options = (
        click.option("--config", "config_path", type=config, metavar="FILE", help=config_help),
        click.option("--debug", **_flag("debug"), help="Print the traceback of an error."),
        click.option("-q", "--quiet", **_flag("quiet"), help="Print results and errors only."),
    )
    return functools.partial(_decorated, options)


def hosts_options(default: str = "[[hosts]]") -> _Decorator:
    """Add the options that say where hosts come from; the command gets ``hosts``, a choice.

    Args:
        default: what counts without any of them, for the help.
    """
    options = (
        click.option(
            sources.HOSTS,
            metavar="NAME,...",
            help=f"Hosts, [user@]name[:port] each.  [default: {default}]",
        ),
        click.option(sources.HOSTFILE, metavar="FILE", help="Hosts from an Open MPI host file."),
        click.option(
            sources.INVENTORY, metavar="FILE", help="Hosts from an Ansible inventory (INI)."
        ),
        click.option(
            sources.GROUP,
            metavar="NAME",
            help="Group of the inventory.  [default: the one that has every host]",
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            choice = {name: given.pop(name) for name in sources.HostsChoice.__struct_fields__}
            return command(*args, hosts=sources.HostsChoice(**choice), **given)

        return _decorated(options, call)

    return decorate


def settings_options(*keys: str) -> _Decorator:
    """Add an option for each key; the command gets ``settings``, key -> text, None if not given."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*args: Any, **options: Any) -> Any:
            settings = {key: options.pop(_parameter(key)) for key in keys}
            return command(*args, settings=settings, **options)

        return _decorated([_setting(key) for key in keys], call)

    return decorate


def _decorated(options: Sequence[_Decorator], command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command options; help shows them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def _setting(key: str) -> _Decorator:
    metavar, text = HELP[key]
    text += _default_text(key)
    name = option_name(key)
    if isinstance(_default(key), bool):
        flags = f"{name}/--no-{name.removeprefix('--')}"
        return click.option(flags, _parameter(key), default=None, help=text)
    return click.option(name, _parameter(key), metavar=metavar, help=text)


def _parameter(key: str) -> str:
    return key.replace(".", "__")


def _default(key: str) -> object:
    table, _, name = key.partition(".")
    return getattr(getattr(Config(), table), name)


def _default_text(key: str) -> str:
    default = _default(key)
    if default is None or default is False:
        return ""
    if key in _BY_PROFILE:
        return "  [default: the profile's]"
    text = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"  [default: {text}]"


def _flag(name: str) -> dict[str, Any]:
    """Set an attribute of the printer: at once, so that later errors heed it."""

    def set_it(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        setattr(ctx.obj, name, value)

    return {"is_flag": True, "is_eager": True, "expose_value": False, "callback": set_it}
