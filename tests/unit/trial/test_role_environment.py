from __future__ import annotations

import pytest

from dnnbench.errors import ConfigError
from dnnbench.settings.load import load
from dnnbench.trial.role_environment import (
    ENVIRONMENT,
    NOT_STORED,
    inherited,
    passed_on,
    passed_on_as_stored,
    reason_not_passed,
    recorded,
)

DROPPED = (
    *("http_proxy", "HTTPS_PROXY", "grpc_proxy", "all_proxy", "no_proxy"),
    *("PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONUNBUFFERED"),
    *("MPLBACKEND", "GRPC_VERBOSITY", "GRPC_TRACE", "TERM", "AWS_SECRET_ACCESS_KEY"),
    *("TF_TOKEN_app_terraform_io", "TF_VAR_password", "TF_CLI_CONFIG_FILE", "TF_LOG"),
)
MEASURED = {
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LD_PRELOAD": "/usr/lib/libjemalloc.so.2",
    "MALLOC_ARENA_MAX": "1",
}
NEEDED = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "TMPDIR": "/tmp", "LD_LIBRARY_PATH": ""}


@pytest.mark.parametrize("name", DROPPED)
def test_what_breaks_a_trial_or_is_nobodys_business_is_dropped(name: str) -> None:
    assert inherited({name: "x"}) == {}


def test_what_changes_the_figures_is_passed_on_and_recorded() -> None:
    assert inherited(MEASURED | NEEDED) == MEASURED | NEEDED
    assert recorded(MEASURED | NEEDED | ENVIRONMENT) == MEASURED


def test_what_is_recorded_has_a_bounded_length() -> None:
    assert recorded({"OMP_X": "y" * 5000}) == {"OMP_X": "y" * 1000}


def test_a_user_passes_on_variables_with_their_value_here_or_a_written_one() -> None:
    entries = ("MY_DIR", "MY_RATE=0.5", "MY_EMPTY=", "MY_FLAGS=-a=1,-b")
    environ = {"MY_DIR": "/data", "MY_RATE": "0.1", "OTHER": "x"}
    given = {"MY_DIR": "/data", "MY_RATE": "0.5", "MY_EMPTY": "", "MY_FLAGS": "-a=1,-b"}
    assert passed_on(entries, environ) == given
    stored = passed_on_as_stored(entries)
    assert stored == given | {"MY_DIR": NOT_STORED}
    with pytest.raises(ConfigError, match="expected the variable MY_DIR to be set") as caught:
        passed_on(entries, {})
    assert caught.value.remedy == "set it, or write MY_DIR=VALUE"


@pytest.mark.parametrize(
    "name",
    [*ENVIRONMENT, "PYTHONPATH", "KERAS_HOME", "DNNBENCH_CLUSTER", "https_proxy", "NO_PROXY"],
)
def test_what_dnnbench_decides_on_and_proxies_cannot_be_passed_on(name: str) -> None:
    assert reason_not_passed(name)
    for entry in (name, f"{name}=1"):
        with pytest.raises(ConfigError, match=f"{name} cannot be passed on"):
            load(None, {}, {"cluster.environment": entry})


@pytest.mark.parametrize("entry", ["1X", "A B", "A-B", "", "=x", "A=\x07", "X" * 101])
def test_what_is_no_name_of_a_variable_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="NAME or NAME=VALUE"):
        load(None, {}, {"cluster.environment": [entry]})


def test_a_variable_is_passed_on_once() -> None:
    with pytest.raises(ConfigError, match="names MY_DIR twice"):
        load(None, {}, {"cluster.environment": "MY_DIR,MY_DIR=1"})
