from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import PROJECT

from dnnbench.errors import ConfigError
from dnnbench.settings.checks import check_device
from dnnbench.settings.documents import template
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.hostlists.sources import HostsChoice
from dnnbench.settings.load import load
from dnnbench.settings.schema import PROFILES, Config, Resolved, settings, without_secrets
from dnnbench.settings.textfile import MOST_BYTES
from dnnbench.settings.values import check_text
from dnnbench.trial.models import MODELS
from dnnbench.trial.protocols import PROTOCOLS
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dnnbench.settings.setting import Field


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load_text(
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Resolved:
    Path("dnnbench.toml").write_text(text, encoding="utf-8")
    return load(None, environ or {}, options or {})


def flat(config: Config) -> dict[str, object]:
    return {
        f"{table}.{name}": value
        for table, content in msgspec.to_builtins(config).items()
        if table != "hosts"
        for name, value in content.items()
    }


def refusal(text: str = "", **layers: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text, **layers)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_without_a_file_everything_is_default() -> None:
    resolved = load(None, {}, {})
    assert resolved.config == Config()
    assert set(resolved.origins.values()) == {"default"}


def test_each_layer_beats_the_one_before_and_is_remembered() -> None:
    text = "\n[train]\nbatch_size = 10\nlearning_rate = 0.5\nl2 = 0\n"
    resolved = load_text(
        text,
        environ={"DNNBENCH_TRAIN_BATCH_SIZE": "20", "DNNBENCH_TRAIN_LEARNING_RATE": "0.25"},
        options={"train.batch_size": 30, "train.l2": None, "sweep.parameter_servers": 2},
    )
    train = resolved.config.train
    assert (train.batch_size, train.learning_rate, train.l2, train.dropout) == (30, 0.25, 0.0, 0.1)
    assert resolved.origins["train.batch_size"] == "--batch-size"
    assert resolved.origins["train.learning_rate"] == "DNNBENCH_TRAIN_LEARNING_RATE"
    assert resolved.origins["train.l2"] == "dnnbench.toml:5"
    assert resolved.origins["train.dropout"] == "default"
    assert resolved.origins["sweep.parameter_servers"] == "--ps"


def test_lists_come_with_commas_and_empty_variables_do_not_count() -> None:
    environ = {"DNNBENCH_SWEEP_NODES": "4, 6", "DNNBENCH_TRAIN_BATCH_SIZE": ""}
    resolved = load(None, environ, {"sweep.protocols": "dc-sgd"})
    assert resolved.config.sweep.nodes == (4, 6)
    assert resolved.config.sweep.protocols == ("dc-sgd",)
    assert resolved.config.train.batch_size == 100


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ('[sweep]\nprofile = "paper"\n', {}, (20, 20)),
        ('[sweep]\nprofile = "paper"\nrepeats = 7\n', {}, (7, 20)),
        ("[sweep]\nrepeats = 7\n", {"sweep.profile": "paper"}, (20, 20)),
        ("[sweep]\nrepeats = 7\n", {"sweep.profile": "paper", "sweep.repeats": 5}, (5, 20)),
        ('[sweep]\nprofile = "paper"\n', {"sweep.profile": "quick"}, (3, 2)),
        ('[sweep]\nprofile = "paper"\n', {"train.epochs": 1}, (20, 1)),
    ],
)
def test_a_profile_counts_where_it_is_given(
    text: str, options: Mapping[str, object], expected: tuple[int, int]
) -> None:
    config = load_text(text, options=options).config
    assert (config.sweep.repeats, config.train.epochs) == expected


def test_lambda_follows_the_kind_of_compensation_unless_it_is_given() -> None:
    assert load(None, {}, {}).config.protocol.chosen_lambda0 == 2.0
    constant = {"protocol.compensation": "constant"}
    assert load(None, {}, constant).config.protocol.chosen_lambda0 == 0.04
    zero = constant | {"protocol.lambda0": 0}
    assert load(None, {}, zero).config.protocol.chosen_lambda0 == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "# a\n[train]\nepochs = 1\nbatch_szie = 3\n",
            "dnnbench.toml:4: [train] batch_szie is not known; did you mean batch_size?",
        ),
        ("[trian]\n", "dnnbench.toml:1: [trian] is not a known table; did you mean train?"),
        (
            "[sweep]\nepochs = 5\n",
            "dnnbench.toml:2: [sweep] epochs is not known; it belongs in [train]",
        ),
        (
            "\nbatch_size = 5\n",
            "dnnbench.toml:2: [batch_size] is not a known table; it belongs in [train]",
        ),
        (
            "train.batch_size = 0\n",
            "dnnbench.toml:1: [train] batch_size: expected a whole number >= 1, got 0",
        ),
        (
            "[train]\ndropout = 1.0\n",
            "dnnbench.toml:2: [train] dropout: expected a number < 1.0, got 1.0",
        ),
        ("[train]\nl2 = true\n", "dnnbench.toml:2: [train] l2: expected a number, got True"),
        (
            "[train]\nl2 = inf\n",
            "dnnbench.toml:2: [train] l2: expected a number <= 1e+37, got inf",
        ),
        (
            "[train]\nlearning_rate = nan\n",
            "dnnbench.toml:2: [train] learning_rate: expected a number >= 1e-37, got nan",
        ),
        (
            '[train]\noptimizer = "adagrd"\n',
            "dnnbench.toml:2: [train] optimizer: expected one of sgd, adagrad, got 'adagrd'; did",
        ),
        (
            "[run]\nready_timeout_s = 1e10\n",
            "dnnbench.toml:2: [run] ready_timeout_s: expected a number <= 604800.0, got 1",
        ),
        (
            "[train]\nseed = 1" + "0" * 5000 + "\n",
            "dnnbench.toml:2: is not TOML: Exceeds the limit",
        ),
        ("[train]\nepochs = " + "[" * 5000 + "]" * 5000, "dnnbench.toml: is nested too deeply"),
        (
            "[sweep]\nnodes = [\n  4,\n  0,\n]\n",
            "dnnbench.toml:2: [sweep] nodes: expected a list of whole numbers >= 1, got [4, 0]",
        ),
        (
            "[sweep]\nnodes = [4, 8, 4]\n",
            "dnnbench.toml:2: [sweep] nodes names a value twice, got [4, 8, 4]",
        ),
        (
            "[cost]\nusd_per_hour = 0\n",
            "dnnbench.toml:2: [cost] usd_per_hour: expected a number >= 1e-09, got 0",
        ),
        ("train = 3\n", "dnnbench.toml:1: [train] must be a table of keys"),
        (
            '[[hosts]]\nname = "a"\n[[hosts]]\nname = "b"\nprot = 2\n',
            "dnnbench.toml:5: [[hosts]] prot is not known; did you mean port?",
        ),
        (
            '[[hosts]]\nname = "a"\n\n[[hosts]]\nname = "a"\n',
            "dnnbench.toml:4: a is listed twice, first at dnnbench.toml:1",
        ),
        ("[[hosts]]\nport = 22\n", "dnnbench.toml:1: [[hosts]] has no name"),
        (
            "[train]\npace_ms = 60000\nsteps_per_run = 100\n",
            "dnnbench.toml:2: 100 steps of 60000 ms, one run, take 6000 s; expected less than",
        ),
        ('hosts = ["a"]\n', "dnnbench.toml:1: expected hosts as [[hosts]] tables"),
        ("[train]\nepochs = \n", "dnnbench.toml:2: is not TOML: Invalid value"),
        ("[train]\nepochs = [1,\n", "dnnbench.toml:2: is not TOML: Invalid value"),
    ],
)
def test_what_the_file_has_wrong_is_named_with_its_line(text: str, line: str) -> None:
    assert refusal(text).startswith(line)


def test_a_complaint_of_msgspec_that_is_not_known_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for complaint in ("Is odd - at `$[0]`", "Expected `decimal` >= 1, got `str`"):

        def refuse(*_: object, text: str = complaint, **__: object) -> None:
            raise msgspec.ValidationError(text)

        monkeypatch.setattr("dnnbench.settings.values.msgspec.convert", refuse)
        assert refusal(options={"train.epochs": "3"}) == f"--epochs: {complaint}, got '3'"


@pytest.mark.parametrize(
    ("key", "typed", "line"),
    [
        (
            "sweep.nodes",
            "1000000000",
            "--nodes: expected whole numbers <= 1000 separated by commas",
        ),
        ("sweep.repeats", "1000000", "--repeats: expected a whole number <= 1000"),
        ("sweep.repeats", "1000", None),
        ("run.ready_timeout_s", "1e10", "--ready-timeout-s: expected a number <= 604800.0"),
        ("train.steps_per_run", "1e6", "--steps-per-run: expected a whole number <= 1000"),
        ("sweep.results_dir", "a" * 300, "--results-dir: expected a path with at most"),
        ("sweep.results_dir", "é" * 150, "--results-dir: expected a path with at most"),
        (
            "sweep.results_dir",
            "~nosuchuser/x",
            "--results-dir: '~nosuchuser/x': there is no such h",
        ),
        (
            "sweep.results_dir",
            "a\0b",
            "--results-dir: expected a path, not empty and without contr",
        ),
        ("sweep.results_dir", "a\udcffb", "--results-dir: expected a path, not empty and without"),
        ("sweep.results_dir", "", "--results-dir: expected a path, not empty and without control"),
        ("sweep.results_dir", "ab/" * 1300, "--results-dir: expected a path with at most"),
        ("ssh.config", "~nosuchuser/x", "--config: '~nosuchuser/x': there is no such home"),
        (
            "train.dataset",
            "mnist\x1b[2J",
            "--dataset: expected text, not empty and without control",
        ),
        ("cluster.directory", "~/a\nb", "--directory: expected an absolute path, or one that begi"),
    ],
)
def test_what_would_fill_the_memory_or_fail_later_is_refused_at_once(
    key: str, typed: str, line: str | None
) -> None:
    if line is None:
        assert load(None, {}, {key: typed, "sweep.nodes": "4"})
    else:
        assert refusal(options={key: typed}).startswith(line)


def test_what_a_protocol_does_not_combine_with_is_refused_with_the_reason() -> None:
    options = {"sweep.protocols": "downpour,staleness-aware", "train.optimizer": "adagrad"}
    assert refusal(options=options) == (
        "--optimizer: protocol staleness-aware does not combine with optimizer adagrad: it divides "
        "the learning rate, but Adagrad's sum of squares would be divided with it; leave "
        "staleness-aware out of the protocols, or choose another optimizer"
    )
    assert load(None, {}, options | {"sweep.protocols": "downpour"})
    both = {"train.momentum": "0.9", "train.optimizer": "adagrad"}
    assert refusal(options=both).startswith("--momentum: momentum does not combine with optimizer")
    assert load(None, {}, options | {"train.optimizer": "sgd"})


@pytest.mark.parametrize("name", ["n_fetch", "n_push"])
@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        ("dc-sgd-a", "a compensation is of one gradient, for the distance from the parameters "),
        ("staleness-aware", "each gradient is divided by its own staleness, and "),
        ("sync", "its workers take every step together; leave sync out of the protocols, or "),
    ],
)
def test_a_protocol_that_pulls_and_pushes_in_every_step_takes_no_intervals(
    name: str, protocol: str, reason: str
) -> None:
    options = {"sweep.protocols": f"downpour,{protocol}", f"train.{name}": "2"}
    assert refusal(options=options).startswith(
        f"--{name.replace('_', '-')}: protocol {protocol} does not combine with {name} 2: {reason}"
    )
    assert load(None, {}, options | {"sweep.protocols": "sequential,downpour"})


def test_a_warm_start_is_of_workers_that_can_train_alone() -> None:
    options = {"sweep.protocols": "downpour,dc-sgd,sequential", "train.warm_start_epochs": "1"}
    assert load(None, {}, options).config.train.warm_start_epochs == 1
    assert refusal(options=options | {"sweep.protocols": "downpour,sync"}) == (
        "--warm-start-epochs: protocol sync does not combine with warm_start_epochs: its workers "
        "take every step together; leave sync out of the protocols, or warm_start_epochs at 0"
    )
    assert refusal(options=options | {"train.rate_warmup_epochs": "1"}).startswith(
        "--warm-start-epochs: warm_start_epochs does not combine with rate_warmup_epochs, whose "
    )


def test_intervals_make_no_run_too_long() -> None:
    downpour = {"sweep.protocols": "downpour"}
    long = downpour | {"train.n_fetch": "997", "train.n_push": "991"}
    assert refusal(options=long).startswith(
        "--n-fetch: expected a multiple of n_fetch 997 and n_push 991 up to 1,000, the most steps "
        "of one session.run, got 988,027; use intervals"
    )
    assert load(None, {}, long | {"train.n_push": "1"})


@pytest.mark.parametrize("epochs", ["3,2", "2,2", "2,6"])
def test_epochs_of_a_schedule_ascend_and_are_trained(epochs: str) -> None:
    options = {"train.epochs": "5", "train.rate_decay_epochs": epochs}
    assert refusal(options=options).startswith(
        "--rate-decay-epochs: expected rate_decay_epochs to ascend, up to the last epoch, 5, got ["
    )
    assert load(None, {}, options | {"train.rate_decay_epochs": "2,5"})


def test_a_sweep_has_a_bounded_number_of_trials() -> None:
    options = {"sweep.nodes": ",".join(map(str, range(2, 103))), "sweep.repeats": "50"}
    assert refusal(options=options) == (
        "--repeats: expected at most 10,000 trials, got 10,100: 202 cells (node counts x "
        "protocols) x 50 repeats"
    )


def test_what_the_environment_has_wrong_is_named() -> None:
    assert refusal(environ={"DNNBENCH_FOO": "3"}) == "environment: DNNBENCH_FOO is not known"
    assert refusal(environ={"DNNBENCH_TRAIN_BATCH_SZIE": "3"}) == (
        "environment: DNNBENCH_TRAIN_BATCH_SZIE is not known; "
        "did you mean DNNBENCH_TRAIN_BATCH_SIZE?"
    )
    assert refusal(environ={"DNNBENCH_SWEEP_NODES": "4,x"}) == (
        "DNNBENCH_SWEEP_NODES: expected whole numbers separated by commas, got '4,x'"
    )


@pytest.mark.parametrize(
    ("key", "typed", "line"),
    [
        (
            "sweep.nodes",
            "4, 0",
            "--nodes: expected whole numbers >= 1 separated by commas, got '4, 0'",
        ),
        ("train.epochs", "2.5", "--epochs: expected a whole number, got '2.5'"),
        ("train.dropout", "1", "--dropout: expected a number < 1.0, got '1'"),
        ("cost.target_accuracy", "97%", "--target-accuracy: expected a number, got '97%'"),
        ("train.l2", "inf", "--l2: expected a number <= 1e+37, got 'inf'"),
        ("train.epochs", "9" * 4400, f"--epochs: expected a smaller number, got '{'9' * 4400}'"),
        ("cluster.share", "perhaps", "--share: expected true or false, got 'perhaps'"),
        (
            "cluster.ports",
            "23000:23999",
            "--ports: expected two ports with a dash, such as 23000-23999, got '23000:23999'",
        ),
        (
            "sweep.protocols",
            "downpour,dcsgd",
            (
                f"--protocols: expected one or more of {', '.join(PROTOCOLS)}, "
                "got 'downpour,dcsgd'; did you mean dc-sgd?"
            ),
        ),
    ],
)
def test_what_was_typed_is_shown_as_it_was_typed(key: str, typed: str, line: str) -> None:
    assert refusal(options={key: typed}) == line


@pytest.mark.parametrize("ports", ["1023-2000", "2000-1999", "60000-65536", "0-99999"])
def test_a_port_range_has_to_be_one_that_a_user_may_listen_on(ports: str) -> None:
    assert refusal(f'[cluster]\nports = "{ports}"\n') == (
        "dnnbench.toml:2: [cluster] ports: expected a first port not above the last, "
        f"both from 1024 to 65535, got {ports}"
    )


def test_a_port_range_has_to_hold_the_largest_trial_on_hosts() -> None:
    options = {"cluster.ports": "50000-50010"}  # where the kernel takes its own from, too
    config = load(None, {}, options).config
    assert config.cluster.port_range == (50000, 50010)
    assert refusal('[[hosts]]\nname = "a"\n', options=options) == (
        "--ports: [cluster] ports: expected at least 12 ports, one for each node of the largest "
        "trial, got 50000-50010"
    )


def test_yes_and_no_may_be_typed_in_several_ways() -> None:
    for text in ("true", "True", "1"):
        assert load(None, {"DNNBENCH_CLUSTER_SHARE": text}, {}).config.cluster.share
    on = "[cluster]\nshare = true\n"
    assert load_text(on).config.cluster.share
    resolved = load_text(on, options={"cluster.share": False})
    assert (resolved.config.cluster.share, resolved.origins["cluster.share"]) == (False, "--share")


def test_an_unknown_model_is_refused_and_a_users_own_is_not() -> None:
    assert refusal('[train]\nmodel = "mnist-dn"\n') == (
        f"dnnbench.toml:2: there is no model 'mnist-dn', expected {', '.join(MODELS)} or "
        "module:function; did you mean mnist-dnn?"
    )
    for wrong in ("a model", ":wide_net", "models:", "models.py:wide net"):
        assert refusal(options={"train.model": wrong}).startswith("--model: there is no model")
    own = load(None, {}, {"train.model": "my_package.models:wide_net"})
    assert own.config.train.model == "my_package.models:wide_net"


def test_too_few_nodes_are_blamed_on_the_layer_that_caused_it() -> None:
    assert refusal(options={"sweep.parameter_servers": 4}) == (
        "--ps: [sweep] nodes = 4 leaves no worker beside parameter_servers = 4, which downpour "
        "needs; a trial needs at least parameter_servers + 1 nodes"
    )
    assert refusal(options={"sweep.nodes": [2], "sweep.parameter_servers": 2}).startswith(
        "--nodes:"
    )


def test_one_node_is_enough_where_no_protocol_needs_a_parameter_server() -> None:
    sequential: dict[str, Any] = {"sweep.nodes": "1", "sweep.protocols": "sequential"}
    assert load(None, {}, sequential).config.sweep.cells == [CellKey(1, "sequential")]
    both = sequential | {"sweep.protocols": "sequential,downpour"}
    assert "which downpour needs" in refusal(options=both)


def test_backup_workers_leave_at_least_one_gradient() -> None:
    options: dict[str, Any] = {"sweep.protocols": "sync", "sweep.nodes": "8,4"}
    assert load(None, {}, options | {"protocol.backup_workers": "2"})
    assert refusal(options=options | {"protocol.backup_workers": "3"}) == (
        "--backup-workers: [protocol] backup_workers: expected fewer than the 3 workers of sync "
        "at 4 nodes, got 3"
    )
    for others in ("downpour,dc-sgd", "all-reduce"):
        assert load(None, {}, options | {"sweep.protocols": others, "protocol.backup_workers": "9"})


def test_a_value_that_a_later_layer_replaces_is_still_checked() -> None:
    assert "expected a whole number >= 1" in refusal(
        "[train]\nepochs = 0\n", options={"train.epochs": 2}
    )


def test_a_named_file_must_exist_and_be_text() -> None:
    with pytest.raises(ConfigError, match=r"other\.toml: there is no such file"):
        load(Path("other.toml"), {}, {})
    Path("binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(Path("binary.toml"), {}, {})


def test_only_a_regular_file_of_a_sensible_size_is_read(tmp_path: Path) -> None:
    os.mkfifo("pipe")
    Path("large.toml").write_bytes(b"#" * (MOST_BYTES + 1))
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        for path, line in {
            "pipe": "expected a regular file, found a named pipe",
            "/dev/zero": "expected a regular file, found a device",
            str(tmp_path): "expected a regular file, found a directory",
            "socket": "cannot be read: No such device or address",
            "large.toml": "expected at most 8 MB, found more",
            "a\0b": "cannot be read: embedded null byte",
        }.items():
            with pytest.raises(ConfigError) as caught:
                load(Path(path), {}, {})
            assert str(caught.value) == f"{path}: {line}"
            with pytest.raises(ConfigError, match=re.escape(line)):
                load(None, {}, {}, HostsChoice(hostfile=path))
            with pytest.raises(ConfigError, match=re.escape(line)):
                load(None, {}, {}, HostsChoice(inventory=path))
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        load(Path("a" * 300), {}, {})
    with pytest.raises(ConfigError, match="--hostfile: '~nosuchuser/h': there is no such home"):
        load(None, {}, {}, HostsChoice(hostfile="~nosuchuser/h"))


def test_a_link_to_nowhere_is_not_taken_for_no_file() -> None:
    Path("dnnbench.toml").symlink_to("gone.toml")
    with pytest.raises(ConfigError, match="is a link to a file that does not exist"):
        load(None, {}, {})


def test_hosts_keep_their_order_and_what_they_leave_out_is_default() -> None:
    resolved = load_text('[[hosts]]\nname = "b"\nslots = 2\n[[hosts]]\nname = "a"\nport = 2222\n')
    assert [(host.name, host.slots, host.port) for host in resolved.config.hosts] == [
        ("b", 2, None),
        ("a", 1, 2222),
    ]
    assert resolved.origins["hosts"] == "dnnbench.toml:1"


def test_what_was_resolved_survives_json() -> None:
    resolved = load_text('[[hosts]]\nname = "b"\n[protocol]\nlambda0 = 0\n')
    assert msgspec.json.decode(msgspec.json.encode(resolved), type=type(resolved)) == resolved


def test_the_projects_own_file_is_what_init_writes() -> None:
    text = (PROJECT / "dnnbench.toml").read_text(encoding="utf-8")
    assert text == template(), "bring it up to date: python -m dnnbench.settings.documents"


def test_the_template_changes_nothing_as_it_stands() -> None:
    assert load_text(template()).config == Config()


def test_the_template_with_every_default_uncommented_says_the_defaults() -> None:
    uncommented = re.sub(r"^#(?=\S)", "", template(), flags=re.MULTILINE)
    resolved = load_text(uncommented)
    assert resolved.config == Config()
    unset = {key for key, value in flat(Config()).items() if value is None}
    assert {key for key, origin in resolved.origins.items() if origin == "default"} == {
        *unset,
        "hosts",
    }


def test_the_examples_in_the_template_are_valid_too() -> None:
    everything = re.sub(r"^# ?(?=\w+ = |\[\[|\w+ = )", "", template(), flags=re.MULTILINE)
    resolved = load_text(everything)
    assert "default" not in resolved.origins.values()
    assert resolved.config.hosts[0].data_address == "10.0.0.11"


def test_every_setting_says_what_it_is_and_what_counts_where_it_is_not_set() -> None:
    for field in settings().values():
        assert re.fullmatch(r"[^\s].*\.", field.setting.help), field.key
        is_unset = field.default is None
        assert bool(field.setting.unset) == is_unset, field.key
        assert (field.setting.example is not None) == is_unset, field.key
        assert field.default_text, field.key


NUMBERS = [f for f in settings().values() if f.kind_is(int) or f.kind_is(float)]


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.key)
@pytest.mark.parametrize("sign", [1, -1])
def test_every_number_has_bounds(field: Field, sign: int) -> None:
    number = sign * (2**62 if field.kind_is(int) and field.key != "sweep.seed" else 10**38)
    with pytest.raises(ConfigError, match=r"expected a (whole )?number [<>]|a smaller number"):
        check_text(field.kind, str(number), field.option)


def test_profiles_set_known_keys_and_quick_is_the_default() -> None:
    quick = PROFILES["quick"]
    defaults = {key: field.default for key, field in settings().items()}
    assert quick == {key: defaults[key] for key in quick}
    assert all(profile.keys() >= quick.keys() for profile in PROFILES.values())


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_sets_what_it_lists_and_the_file_may_be_of_another(name: str) -> None:
    others = [f'[sweep]\nprofile = "{other}"\n' for other in PROFILES]
    expected = load(None, {}, {"sweep.profile": name}).config
    for key, value in PROFILES[name].items():
        table, _, field = key.partition(".")
        assert getattr(getattr(expected, table), field) == value
    for other in others:
        assert load_text(other, options={"sweep.profile": name}).config == expected


@given(st.text(max_size=5), st.text(max_size=5), st.sampled_from(["bob:{}@h/simple", "h/s?key={}"]))
@example("my ", "", "bob:{}@h/simple")
@example('"', "", "{}@h/simple")
@example("\\", "", "bob:{}@h/simple")
@example("12/", "", "bob:{}@h/simple")
@example("x@/", "", "bob:{}@h/simple")
@example("x#", "", "bob:{}@h/simple")
@example("x?", "", "bob:{}@h/simple")
@example("p", "@:~!$&'()*+,;=", "bob:{}@h/simple")
def test_a_secret_in_the_url_of_an_index_is_hidden_or_the_url_is_refused(
    before: str, after: str, form: str
) -> None:
    url = "https://" + form.format(f"{before}SECRET{after}")
    try:
        resolved = load(None, {"DNNBENCH_PROVISION_INDEX_URL": url}, {})
        shown = str(without_secrets(resolved).config.provision.index_url)
    except ConfigError as error:
        shown = str(error)
    assert "SECRET" not in shown


def test_a_password_with_escapes_is_accepted_and_hidden() -> None:
    url = "https://bob:my%20SECRET%2F@h:8080/simple"
    resolved = load(None, {"DNNBENCH_PROVISION_INDEX_URL": url}, {})
    assert resolved.config.provision.index_url == url
    assert without_secrets(resolved).config.provision.index_url == "https://***@h:8080/simple"


def test_a_gpu_is_wanted_only_where_there_is_one() -> None:
    config = load(None, {}, {"train.device": "gpu"}).config
    check_device(config, "--device", 1)
    check_device(Config(), "--device", 0)
    check_device(msgspec.structs.replace(config, hosts=(HostConfig("node1"),)), "--device", 0)
    with pytest.raises(ConfigError, match=r"^--device: there is no NVIDIA GPU"):
        check_device(config, "--device", 0)
