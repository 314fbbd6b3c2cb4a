from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support import PROJECT

from dnnbench.errors import ConfigError
from dnnbench.settings.load import load, template
from dnnbench.settings.schema import PROFILES, Config, Resolved

if TYPE_CHECKING:
    from collections.abc import Mapping


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
            "[run]\nstall_timeout_s = inf\n",
            "dnnbench.toml:2: [run] stall_timeout_s: expected a finite number, got inf",
        ),
        (
            "[train]\nlearning_rate = nan\n",
            "dnnbench.toml:2: [train] learning_rate: expected a number > 0.0, got nan",
        ),
        (
            '[train]\noptimizer = "adagrd"\n',
            "dnnbench.toml:2: [train] optimizer: expected one of sgd, adagrad, got 'adagrd'; did",
        ),
        (
            "[sweep]\nnodes = [\n  4,\n  1,\n]\n",
            "dnnbench.toml:2: [sweep] nodes: expected a list of whole numbers >= 2, got [4, 1]",
        ),
        (
            "[sweep]\nnodes = [4, 8, 4]\n",
            "dnnbench.toml:2: [sweep] nodes names a value twice, got [4, 8, 4]",
        ),
        (
            "[cost]\nusd_per_hour = 0\n",
            "dnnbench.toml:2: [cost] usd_per_hour: expected a number > 0.0, got 0",
        ),
        ("train = 3\n", "dnnbench.toml:1: [train] must be a table of keys"),
        (
            '[[hosts]]\nname = "a"\n[[hosts]]\nname = "b"\nprot = 2\n',
            "dnnbench.toml:5: [[hosts]] prot is not known; did you mean port?",
        ),
        (
            '[[hosts]]\nname = "a"\n\n[[hosts]]\nname = "a"\n',
            "dnnbench.toml:4: a is there twice, first at dnnbench.toml:1",
        ),
        ("[[hosts]]\nport = 22\n", "dnnbench.toml:1: [[hosts]] has no name"),
        ('hosts = ["a"]\n', "dnnbench.toml:1: hosts are written as [[hosts]] tables"),
        ("[train]\nepochs = \n", "dnnbench.toml:2: is not TOML: Invalid value"),
        ("[train]\nepochs = [1,\n", "dnnbench.toml:2: is not TOML: Invalid value"),
    ],
)
def test_what_the_file_has_wrong_is_named_with_its_line(text: str, line: str) -> None:
    assert refusal(text).startswith(line)


def test_what_the_environment_has_wrong_is_named() -> None:
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
            "4, 1",
            "--nodes: expected whole numbers >= 2 separated by commas, got '4, 1'",
        ),
        ("train.epochs", "2.5", "--epochs: expected a whole number, got '2.5'"),
        ("train.dropout", "1", "--dropout: expected a number < 1.0, got '1'"),
        ("cost.target_accuracy", "97%", "--target-accuracy: expected a number, got '97%'"),
        ("run.stall_timeout_s", "inf", "--stall-timeout-s: expected a finite number, got 'inf'"),
        ("train.epochs", "9" * 4400, f"--epochs: expected a smaller number, got '{'9' * 4400}'"),
        ("cluster.share", "perhaps", "--share: expected true or false, got 'perhaps'"),
        (
            "cluster.ports",
            "23000:23999",
            "--ports: expected two ports with a dash, as 23000-23999, got '23000:23999'",
        ),
        (
            "sweep.protocols",
            "downpour,dcsgd",
            (
                "--protocols: expected one or more of downpour, dc-sgd, got 'downpour,dcsgd'; "
                "did you mean dc-sgd?"
            ),
        ),
    ],
)
def test_what_was_typed_is_shown_as_it_was_typed(key: str, typed: str, line: str) -> None:
    assert refusal(options={key: typed}) == line


@pytest.mark.parametrize("ports", ["1023-2000", "2000-1999", "60000-65536", "0-99999"])
def test_a_port_range_has_to_be_one_that_a_user_may_listen_on(ports: str) -> None:
    assert refusal(f'[cluster]\nports = "{ports}"\n') == (
        "dnnbench.toml:2: [cluster] ports: expected the first not above the last, "
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
        "dnnbench.toml:2: there is no model 'mnist-dn', expected mnist-dnn or module:function; "
        "did you mean mnist-dnn?"
    )
    for wrong in ("a model", ":wide_net", "models:", "models.py:wide net"):
        assert refusal(options={"train.model": wrong}).startswith("--model: there is no model")
    own = load(None, {}, {"train.model": "my_package.models:wide_net"})
    assert own.config.train.model == "my_package.models:wide_net"


def test_too_few_nodes_are_blamed_on_the_layer_that_caused_it() -> None:
    assert refusal(options={"sweep.parameter_servers": 4}).startswith("--ps: [sweep] 4 nodes leave")
    assert refusal(options={"sweep.nodes": [2], "sweep.parameter_servers": 2}).startswith(
        "--nodes:"
    )


def test_a_value_that_a_later_layer_replaces_is_still_checked() -> None:
    assert "expected a whole number >= 1" in refusal(
        "[train]\nepochs = 0\n", options={"train.epochs": 2}
    )


def test_a_named_file_must_exist_and_be_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"other\.toml: there is no such file"):
        load(Path("other.toml"), {}, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {}, {})
    Path("binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(Path("binary.toml"), {}, {})


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


def test_the_projects_own_file_is_the_template() -> None:
    assert (PROJECT / "dnnbench.toml").read_text(encoding="utf-8") == template()


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


def test_profiles_set_known_keys_and_quick_is_the_default() -> None:
    quick = PROFILES["quick"]
    assert quick == {"sweep.repeats": Config().sweep.repeats, "train.epochs": Config().train.epochs}
    assert PROFILES["paper"].keys() == quick.keys()
