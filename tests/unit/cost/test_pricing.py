"""Billing rules, own machines and bounds of prices, against independent formulas."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnnbench.cost import basis_of_book, load_book
from dnnbench.cost.book import BillingRule, OwnMachine, SustainedUse
from dnnbench.cost.pricing import Rate, cost_usd
from dnnbench.cost.tables import usd
from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = st.decimals(min_value=0, max_value=10**8, places=3)
RULES = st.builds(
    BillingRule, granularity_s=st.integers(1, 100_000), minimum_s=st.integers(0, 1_000_000)
)
OWN = """\
provider = "us"
as_of = 2026-11-01
currency = "USD"
regions = ["cellar"]
sources = ["invoice"]

[own.desk]
usd = "1500"
years = 4
watts = 120
usd_per_kwh = "0.30"
vcpus = 8
"""


@given(RULES, SECONDS)
def test_what_is_billed_is_the_fewest_steps_that_cover_the_time_and_the_minimum_at_least(
    rule: BillingRule, duration_s: Decimal
) -> None:
    steps = math.ceil(Fraction(duration_s) / rule.granularity_s)
    assert rule.billed_s(duration_s) == max(steps * rule.granularity_s, rule.minimum_s)


@given(RULES, SECONDS, SECONDS)
def test_a_longer_use_never_has_a_smaller_bill_and_one_use_none_larger_than_two(
    rule: BillingRule, a: Decimal, b: Decimal
) -> None:
    assert rule.billed_s(max(a, b)) >= rule.billed_s(min(a, b))
    assert rule.billed_s(a + b) <= rule.billed_s(a) + rule.billed_s(b)


@given(SECONDS, st.integers(1, 1000))
def test_n_machines_cost_n_times_one(duration_s: Decimal, machines: int) -> None:
    rate = Rate(Decimal("0.19"), Decimal("0.001"))
    one = cost_usd(rate, duration_s, SustainedUse(), 730)
    many = cost_usd(rate * machines, duration_s, SustainedUse(), 730)
    assert many == pytest.approx(machines * one)


def test_own_hardware_costs_its_price_over_the_hours_of_use_and_its_electricity(
    tmp_path: Path,
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    book = load_book(str(path))
    expected = Fraction(1500, 4 * 8760) + Fraction(120, 1000) * Fraction(30, 100)
    basis = basis_of_book(book)
    assert basis.machine == "desk"
    assert Fraction(basis.rate.usd_per_hour) == pytest.approx(expected)
    assert basis.bill_usd(basis.rate, Decimal("3.0")) == basis.rate.usd_per_hour * 3 / 3600
    assert basis.is_per_host
    path.write_text(OWN + "hours_per_year = 1000\n")
    less_used = basis_of_book(load_book(str(path))).rate.usd_per_hour
    assert less_used == Decimal("0.375") + Decimal("0.036")


@pytest.mark.parametrize("hours", [0, 8761])
def test_a_year_has_8760_hours(hours: int, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f"{OWN}hours_per_year = {hours}\n")
    with pytest.raises(
        ConfigError, match=rf"own\.desk\.hours_per_year: expected .*, found {hours}"
    ):
        load_book(str(path))


def test_a_name_stands_for_one_machine(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    machine = 'usd_per_hour = "1"\n[[billing]]\ngranularity_s = 1\nminimum_s = 0\n'
    path.write_text(f"{OWN}[machine.desk]\n{machine}")
    with pytest.raises(
        ConfigError, match="own: expected other names than `machine` has, found desk"
    ):
        load_book(str(path))


def test_a_clouds_machines_need_a_billing_rule(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'{OWN}[machine.small]\nusd_per_hour = "1"\n')
    with pytest.raises(ConfigError, match="billing: expected a rule at least, found none"):
        load_book(str(path))


@given(st.decimals(min_value="0.000000001", max_value=10**6, allow_nan=False))
def test_any_amount_that_prices_can_give_is_shown(price: Decimal) -> None:
    machine = OwnMachine(Decimal(1), Decimal(1), Decimal(1), Decimal(1))
    assert machine.usd_per_hour > 0
    for amount in (price, price * 1000 * 8760 * 100):
        assert usd(amount).replace(",", "").replace(".", "").isdigit()
