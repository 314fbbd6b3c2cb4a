"""Environment variables of an agent and its roles, here and over SSH: made on purpose.

Of what the user's shell or a host's login sets, a process gets what it needs and what a user sets
to change how it computes; the second kind is recorded with the results. So is what ``[cluster]
environment`` names. The rest is dropped: proxies, between whose ends no tensor can pass, the back
end of a notebook, Python's own variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENVIRONMENT: Final = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors only: every role would log the same notes
    "CUDA_VISIBLE_DEVICES": "-1",  # roles on one host would compete for one GPU's memory
    "OPENBLAS_NUM_THREADS": "1",  # NumPy only gathers batches; more threads get in the way
    "KERAS_BACKEND": "tensorflow",
    # gRPC's older way to wait for messages: the thread that waits for one also reads it, whereas
    # the event engine passes it between threads. This makes a step a seventh shorter.
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener,-event_engine_dns,"
    "-event_engine_dns_non_client_channel,-event_engine_callback_cq,"
    "-event_engine_for_all_other_endpoints",
    "GRPC_POLL_STRATEGY": "poll",
}
"""Set for every agent, before its Python starts."""

CHECKPOINTS: Final = "DNNBENCH_CHECKPOINTS"
"""Variable with the directory, on the agent's host, for the checkpoints of parameter servers. Who
starts an agent sets it, and removes the directory once the agent is gone."""

NEEDED: Final = (
    *("HOME", "LANG", "LC_*", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "TZ", "USER"),
    *("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONNOUSERSITE", "VIRTUAL_ENV"),
    *("CUDA_HOME", "CUDA_PATH", "KERAS_HOME", "NVIDIA_*"),
    "COVERAGE_*",  # of the processes of the tests
)
"""Variables that are passed on; ``*`` stands for any end."""

MEASURED: Final = (
    *("CUDA_*", "GOMP_*", "KERAS_*", "KMP_*", "MKL_*", "OMP_*", "ONEDNN_*", "OPENBLAS_*"),
    *("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_*", "TCMALLOC_*", "XLA_*"),
    # Not TF_*: Terraform's variables have the same beginning, and some of them hold secrets.
    *("TF_CPU_*", "TF_CUBLAS_*", "TF_CUDNN_*", "TF_DETERMINISTIC_*", "TF_DISABLE_*", "TF_ENABLE_*"),
    *("TF_FORCE_*", "TF_GPU_*", "TF_GRPC_*", "TF_MKL_*", "TF_NUM_*", "TF_ONEDNN_*", "TF_USE_*"),
    "TF_XLA_*",
)
"""Variables that are passed on and recorded, because they may change what is measured."""

_OWN: Final = (*ENVIRONMENT, "DNNBENCH_*", "KERAS_HOME", "PYTHONHOME", "PYTHONPATH")
"""Variables that dnnbench decides on itself: a user cannot pass them on."""
_PROXIES: Final = ("all_proxy", "ftp_proxy", "grpc_proxy", "http_proxy", "https_proxy", "no_proxy")
NOT_STORED: Final = "(value not stored)"
"""Stands for the value of a variable that is passed on by its name alone."""
_MOST_CHARACTERS: Final = 1000


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that are passed on to an agent."""
    return {name: value for name, value in environ.items() if is_among(name, NEEDED + MEASURED)}


def recorded(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an agent that a user set and that may change what is measured."""
    return {
        name[:_MOST_CHARACTERS]: value[:_MOST_CHARACTERS]
        for name, value in sorted(environ.items())
        if is_among(name, MEASURED) and not is_among(name, NEEDED) and name not in ENVIRONMENT
    }


def reason_not_passed(name: str) -> str | None:
    """Return why a user cannot pass on a variable; None if it can be."""
    if is_among(name, _OWN):
        return "dnnbench decides on it itself"
    if name.lower() in _PROXIES:
        return "between the ends of a proxy, no tensor can pass"
    return None


def passed_on(entries: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a user passes on.

    Args:
        entries: ``NAME``, for the value that it has here, or ``NAME=value``.
        environ: of this process.

    Raises:
        ConfigError: a variable to be passed on has no value here.
    """
    found = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals and name not in environ:
            raise ConfigError(
                f"expected the variable {name} to be set, to pass it on; it is not",
                where="[cluster] environment",
                remedy=f"set it, or write {name}=VALUE",
            )
        found[name] = value if equals else environ[name]
    return found


def passed_on_as_stored(entries: Iterable[str]) -> dict[str, str]:
    """Return the variables that a user passes on, as results show them: name -> value."""
    split = (entry.partition("=") for entry in entries)
    return {name: value if equals else NOT_STORED for name, equals, value in split}


def is_among(name: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a variable is one of those that patterns such as ``LC_*`` name."""
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )
