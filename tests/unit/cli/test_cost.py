"""``dnnbench cost`` and the prices of ``dnnbench run``, as a user calls them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.factories import make_order, make_outcome
from support.fake_sweep import SOURCE

from dnnbench.cli import main
from dnnbench.cost.library import SHIPPED
from dnnbench.errors import ResultsError
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from collections.abc import Callable

CATALOGUE = """\
InstanceType,vCPUs,Price,Region,SpotPrice
small,4.0,0.20,here,0.08
large,16.0,0.80,here,
"""
HOSTS = "".join(f'[[hosts]]\nname = "{name}"\n' for name in "abcd")
RUN = (
    *("run", "--nodes", "4", "--protocols", "downpour", "--repeats", "2"),
    *("--dataset", "synthetic-mnist"),
)


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(list(arguments))
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def swept(call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that runs a small sweep on fake agents, with more arguments."""
    monkeypatch.setattr(*SOURCE)

    def run(*arguments: str) -> None:
        assert call(*RUN, "-q", *arguments).code == 0

    return run


def basis(call: Callable[..., Result], *arguments: str) -> dict[str, Any]:
    result = call("cost", "--format", "json", *arguments)
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)["sweep"]["basis"]
    return found


def notes(call: Callable[..., Result], *arguments: str) -> str:
    text: str = json.loads(call("cost", "--format", "json", *arguments).out)["sweep"]["prices"]
    return text


# --- books ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("book", "machine"),
    [
        ("aws-2026-07", "m5.xlarge"),
        ("azure-2026-06", "Standard_D4s_v5"),
        ("gcp-2026-08", "n1-standard-4"),
        ("vms.csv", "small"),
        ("./vms.csv", "small"),
    ],
)
def test_the_default_machine_is_one_of_the_book_in_use(
    book: str, machine: str, call: Callable[..., Result], swept: Callable[..., None]
) -> None:
    swept()
    Path("vms.csv").write_text(CATALOGUE)
    assert basis(call, "--price-book", book)["machine"] == machine


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--price-book", "vms.csv"), "vms.csv: there is no such price book"),
        (("--price-book", "gcp-2018-08"), "did you mean gcp-2017-08? Choose one of aws-2026-07"),
        (
            ("--price-book", "prices"),
            "price book prices: there is none of this name; choose one of aws-2026-07",
        ),
        (("--price-book", "fifo.csv"), "fifo.csv: expected a regular file, found a named pipe"),
        (("--price-book", "deep.toml"), "deep.toml: is nested too deeply"),
        (("--price-book", "vast.toml"), "machine.x.usd_per_hour: expected a number from"),
        (
            ("--usd-per-hour", "1e24"),
            "--usd-per-hour: expected a number <= 1000000.0, got '1e24'",
        ),
        (
            ("--machine", "zebra"),
            "price book gcp-2017-08: has no machine 'zebra'; the book has n1-",
        ),
        (("--region", "mars"), "price book gcp-2017-08: has no region 'mars'; it has us-central1"),
        (("--accuracy", "97", "--target-accuracy", "0.9"), "expected one accuracy, found two"),
        (("--accuracy", "0"), "--accuracy: expected a number > 0"),
        (("--accuracy", "nan"), "--accuracy: expected a number > 0"),
        (("--within", "2 parsecs", "--accuracy", "9"), "such as 90min or 2h, got '2 parsecs'"),
        (("--within", "0h", "--accuracy", "9"), "such as 90min or 2h, got '0h'"),
        (("--throughput", "x"), "expected TYPE=EXAMPLES_PER_S, such as g5.xlarge=40000, got 'x'"),
    ],
)
def test_what_cannot_be_priced_is_one_line(
    arguments: tuple[str, ...], line: str, call: Callable[..., Result]
) -> None:
    os.mkfifo("fifo.csv")
    Path("deep.toml").write_text(f"x = {'[' * 5000}{']' * 5000}\n")
    shipped = (SHIPPED / "aws-2026-07.toml").read_text()
    Path("vast.toml").write_text(shipped.replace("[machine]", "[machine]\nx.usd_per_hour = 1e24"))
    result = call("cost", *arguments)
    assert result.code == 2
    assert line in result.err
    assert result.err.count("\n") == 1


def test_a_time_needs_an_accuracy_of_the_command_or_of_the_run(
    call: Callable[..., Result], swept: Callable[..., None]
) -> None:
    swept()
    result = call("cost", "--within", "2h")
    assert result.code == 2
    assert "--within: expected the accuracy to reach within this time; add" in result.err
    swept("--target-accuracy", "0.01")
    assert "Plans: 1 % test accuracy within 2 h 00 min" in call("cost", "--within", "2h").out


def test_a_users_catalog_is_a_book_by_its_name(call: Callable[..., Result]) -> None:
    books = Path(os.environ["XDG_CONFIG_HOME"], "dnnbench", "books")
    books.mkdir(parents=True)
    (books / "cloud.csv").write_text(CATALOGUE)
    assert call("cost", "--price-book", "cloud.csv").code == 0
    result = call("cost", "--price-book", "cloud.csv", "--machine", "larger")
    assert "did you mean large? The book has small, large" in result.err


# --- frozen prices -------------------------------------------------------------------------------


def test_a_sweep_keeps_the_prices_that_it_was_run_with(
    call: Callable[..., Result], swept: Callable[..., None]
) -> None:
    book = Path("vms.csv")
    book.write_text(CATALOGUE)
    swept("--price-book", "vms.csv", "--machine", "large")
    before = call("cost", "--format", "json").out
    assert json.loads(before)["sweep"]["basis"]["machine_usd_per_hour"] == "0.80"
    assert notes(call).startswith("as when the sweep was run, with price book vms.csv of ")
    book.write_text(CATALOGUE.replace("0.80", "0.90"))
    after = json.loads(call("cost", "--format", "json").out)
    changed = after["sweep"].pop("prices")
    assert "it has changed since: --price-book vms.csv takes the present one" in changed
    same = json.loads(before)
    same["sweep"].pop("prices")
    assert after == same
    present = basis(call, "--price-book", "vms.csv", "--machine", "large")
    assert present["machine_usd_per_hour"] == "0.90"
    assert notes(call, "--price-book", "vms.csv").startswith(
        "not those that the sweep was run with"
    )
    book.unlink()
    assert notes(call).endswith("which cannot be found now")
    assert basis(call)["machine_usd_per_hour"] == "0.80"


def test_settings_that_name_another_book_take_it(
    call: Callable[..., Result], swept: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    swept()
    assert basis(call)["book"] == "gcp-2017-08"
    Path("dnnbench.toml").write_text('[cost]\nprice_book = "aws-2026-07"\n')
    assert basis(call)["book"] == "aws-2026-07"
    monkeypatch.setenv("DNNBENCH_COST_PRICE_BOOK", "gcp-2026-08")
    assert basis(call)["book"] == "gcp-2026-08"
    assert basis(call, "--price-book", "azure-2026-06")["book"] == "azure-2026-06"


def test_a_sweep_of_an_earlier_version_gets_the_present_prices_and_is_told_so(
    call: Callable[..., Result], swept: Callable[..., None]
) -> None:
    swept()
    prices = open_sweep(Path("results")).path / "prices.json"
    prices.unlink()
    assert basis(call)["book"] == "gcp-2017-08"
    assert notes(call) == "of the present price book: the sweep was stored without one"
    prices.write_text("{}")
    result = call("cost")
    assert result.code == ResultsError.exit_code
    assert "prices.json: is damaged" in result.err


# --- before and during a run ---------------------------------------------------------------------


def test_a_dry_run_prints_no_price_of_this_machine(call: Callable[..., Result]) -> None:
    result = call(*RUN, "--dry-run")
    assert "Cost: none, as this machine has no price (--usd-per-hour gives it one)" in result.out
    assert json.loads(call(*RUN, "--dry-run", "--json").out)["cost"] is None


def test_a_dry_run_prints_the_bill_of_rented_hosts_with_its_uncertainty(
    call: Callable[..., Result],
) -> None:
    Path("dnnbench.toml").write_text(HOSTS)
    document = json.loads(call(*RUN, "--dry-run", "--json", "--price-book", "aws-2026-07").out)
    cost, time_s = document["cost"], sum(document["estimated_s"].values())
    assert (cost["machines"], cost["measured"], cost["trials"]) == (4, 0, 2)
    for name, factor in (("low_usd", 0.5), ("usd", 1.0), ("high_usd", 2.0)):
        seconds = max(60.0, -(-time_s * factor // 1))
        assert float(cost[name]) == pytest.approx(4 * 0.192 * seconds / 3600)
    text = " ".join(call(*RUN, "--dry-run", "--price-book", "aws-2026-07").out.split())
    assert "within a factor of 2, as the times are those of a model) for 4 machines" in text
    assert "m5.xlarge of price book aws-2026-07, as of 2026-07-20" in text


def test_hosts_are_paid_once_each_and_by_their_own_prices_if_they_have_some(
    call: Callable[..., Result],
) -> None:
    def cost() -> dict[str, Any]:
        text = call(*RUN, "--nodes", "8", "--price-book", "aws-2026-07", "--dry-run", "--json").out
        found: dict[str, Any] = json.loads(text)["cost"]
        return found

    two_each = HOSTS.replace('"\n', '"\nslots = 2\n')
    Path("dnnbench.toml").write_text(two_each)
    assert (cost()["machines"], cost()["basis"]["machine"]) == (4, "m5.xlarge")
    Path("dnnbench.toml").write_text(two_each.replace("slots", "usd_per_hour = 900\nslots"))
    own = cost()
    assert (own["machines"], own["basis"]["machine"]) == (4, "the hosts' own prices")
    assert float(own["usd"]) == int(float(own["usd"]))  # 1 USD per second of the four


def test_trials_measured_before_narrow_the_estimate(
    call: Callable[..., Result], swept: Callable[..., None]
) -> None:
    swept()
    durations_s = [outcome.duration_s for outcome in open_sweep(Path("results")).outcomes()]
    document = json.loads(call(*RUN, "--dry-run", "--json", "--usd-per-hour", "3600").out)
    cost = document["cost"]
    assert (cost["measured"], cost["trials"]) == (2, 2)
    for name, seconds in (("low_usd", min(durations_s)), ("high_usd", max(durations_s))):
        assert float(cost[name]) == pytest.approx(-(-2 * seconds // 1))
    text = call(*RUN, "--dry-run", "--usd-per-hour", "3600").out
    assert "by the times of trials measured before" in " ".join(text.split())


def test_a_limit_ends_a_run_between_trials_and_resume_goes_on(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*SOURCE)
    result = call(*RUN, "-q", "--max-hours", "0.0001")
    assert result.code == 6
    assert "n04-downpour-r01: not started, as it would end past --max-hours 0.0001" in result.err
    store = open_sweep(Path("results"), need_outcomes=False)
    assert not store.has_outcomes()
    outcome = make_outcome(store.plan.orders[0], duration_s=7200.0)
    store.append(outcome)  # one trial has ended, and the next is expected to take two hours
    stopped = call("run", "--resume", "-q")  # with the limit of the sweep
    assert stopped.code == 6
    assert "Table 2" in stopped.out  # what has ended is reported
    assert call("run", "--resume", "-q", "--max-hours", "1").code == 0
    assert not store.pending()


def test_a_limit_on_the_cost_counts_the_bill_of_all_machines(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*SOURCE)
    result = call(*RUN, "-q", "--max-cost", "0.01", "--usd-per-hour", "3600")
    assert result.code == 6
    assert "would end past --max-cost 0.01" in result.err
    assert call(*RUN, "-q", "--max-cost", "100000", "--usd-per-hour", "3600").code == 0


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_limit_on_the_cost_of_a_machine_without_a_price_is_refused_before_anything_runs(
    more: tuple[str, ...], call: Callable[..., Result]
) -> None:
    result = call(*RUN, "--max-cost", "5", *more)
    assert result.code == 2
    assert "--max-cost: this machine has no price; give it one with --usd-per-hour" in result.err
    assert not Path("results").exists()


@pytest.mark.parametrize(
    "arguments", [("--price-book", "nope"), ("--machine", "nope", "--hosts", "a")]
)
def test_prices_that_cannot_be_used_are_refused_before_anything_runs(
    arguments: tuple[str, ...], call: Callable[..., Result]
) -> None:
    assert call(*RUN, "--dry-run", *arguments).code == 2
    assert not Path("results").exists()


def test_accuracy_and_plans_in_every_format(
    call: Callable[..., Result], swept: Callable[..., None]
) -> None:
    swept("--usd-per-hour", "0.5")
    order = make_order()
    assert order.nodes == 4
    for layout in ("terminal", "markdown", "json", "csv"):
        result = call("cost", "--accuracy", "1", "--within", "1h", "--format", layout)
        assert result.code == 0, result.err
        assert "own hardware" in result.out
    text = call("cost", "--accuracy", "1", "--within", "1h").out
    assert "Cost to 1 % test accuracy by machine type" in text
    assert "Plans: 1 % test accuracy within 1 h 00 min" in text
