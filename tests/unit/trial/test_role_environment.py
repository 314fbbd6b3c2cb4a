from __future__ import annotations

import pytest

from dnnbench.trial.role_environment import ENVIRONMENT, inherited, recorded

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
