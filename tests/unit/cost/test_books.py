"""Price books: what is accepted, what is refused and in which words."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import PROJECT

from dnnbench.cost import library, list_books, load_book
from dnnbench.cost.book import SustainedUse, Tier
from dnnbench.cost.library import SHIPPED, read_book
from dnnbench.cost.pricing import parse_price
from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MONTH_S = Decimal(730 * 3600)
GOOD = (SHIPPED / "gcp-2017-08.toml").read_text()
TIERS = load_book(str(SHIPPED / "gcp-2017-08.toml")).sustained_use


@pytest.fixture(autouse=True)
def own_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the books of whoever runs the tests out of them."""
    directory = tmp_path / "dnnbench" / "books"
    directory.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return directory


@pytest.mark.parametrize("given", ["", "relative"])
def test_without_an_absolute_directory_of_settings_own_books_are_under_the_home_directory(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert library.user_books() == tmp_path / ".config" / "dnnbench" / "books"


def test_the_shipped_books_name_their_date_region_and_source() -> None:
    assert list(list_books()) == ["aws-2026-07", "azure-2026-06", "gcp-2017-08", "gcp-2026-08"]
    for name in list_books():
        book = load_book(name)
        assert name == book.name == f"{book.provider}-{book.as_of:%Y-%m}"
        assert book.currency == "USD"
        assert book.regions
        assert book.sources


@pytest.mark.parametrize("written", ['"0.0475"', "0.0475"])
def test_a_price_is_exact_with_and_without_quotation_marks(written: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('"0.0475"', written))
    assert read_book(path).machine["n1-standard-1"].usd_per_hour == Decimal("0.0475")


@pytest.mark.parametrize(
    ("good", "bad", "line"),
    [
        ('"0.0475"', '"0"', "18: machine.n1-standard-1.usd_per_hour: .* above 0, found 0"),
        ('"0.0475"', "-1", "18: machine.n1-standard-1.usd_per_hour: .* above 0, found -1"),
        ('"0.0475"', "nan", "18: machine.n1-standard-1.usd_per_hour: .* above 0, found NaN"),
        ('"0.0475"', '"inf"', "18: machine.n1-standard-1.usd_per_hour: .*, found Infinity"),
        ('"0.0475"', '"cheap"', "18: machine.n1-standard-1.usd_per_hour: .* number, found 'cheap'"),
        ('"0.0475"', "true", "18: machine.n1-standard-1.usd_per_hour: .* number, found True"),
        (
            'usd_per_hour = "0.0475", ',
            "",
            "18: machine.n1-standard-1.usd_per_hour: expected this key, found none",
        ),
        (
            'usd_per_hour = "0.0475"',
            'usd_per_hor = "0.0475"',
            "18: machine.n1-standard-1.usd_per_hor: unknown key; did you mean usd_per_hour",
        ),
        ("[machine]", "[machines]", "17: machines: unknown key; did you mean machine"),
        ('"0.70"', '"-0.70"', "28: gpu.k80.usd_per_hour: .* above 0, found -0.70"),
        ('"0.04"', '""', "37: pd_standard.usd_per_gb_month: expected a number, found ''"),
        ('"USD"', '"EUR"', "4: currency: expected 'USD', found 'EUR'"),
        ("minimum_s = 60\n", "minimum_s = -1\n", "billing.1.minimum_s: .*, found -1"),
        ('["0.50", "0.8"]', '["0.10", "0.8"]', "40: sustained_use.tiers: .* rise to 1.00"),
        ('["0.50", "0.8"]', '["0.50", "0"]', "40: sustained_use.tiers.1.factor: .* found 0"),
        ("provider =", "provider", "2: is not TOML"),
    ],
)
def test_a_bad_book_is_refused_with_file_line_key_and_what_was_found(
    good: str, bad: str, line: str, tmp_path: Path
) -> None:
    assert good in GOOD
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(good, bad, 1))
    with pytest.raises(ConfigError, match=rf"mine\.toml:(\d+: )?{line}"):
        read_book(path)


def test_a_book_that_lacks_its_machines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("".join(line for line in GOOD.splitlines(keepends=True) if "n1-" not in line))
    with pytest.raises(ConfigError, match="machine: expected a table of length >= 1"):
        read_book(path)


def test_the_users_book_is_found_by_name_and_by_path(own_books: Path, tmp_path: Path) -> None:
    (own_books / "mine.toml").write_text(GOOD.replace('"0.1900"', '"0.2000"'))
    elsewhere = tmp_path / "other.toml"
    elsewhere.write_text(GOOD)
    assert load_book("mine").machine["n1-standard-4"].usd_per_hour == Decimal("0.2")
    assert load_book(str(elsewhere)).name == "other"


def test_the_nearest_book_and_machine_are_suggested() -> None:
    with pytest.raises(ConfigError, match="did you mean gcp-2017-08"):
        load_book("gcp-2017")
    with pytest.raises(ConfigError, match="did you mean n1-standard-4"):
        load_book("gcp-2017-08").find_machine("n1-standart-4")
    with pytest.raises(ConfigError, match="no such price book"):
        load_book("/nowhere/x.toml")


def test_the_billing_rule_follows_from_the_day() -> None:
    book = load_book("gcp-2017-08")
    assert book.billing_on(book.as_of).minimum_s == 600
    assert book.billing_on(dt.date(2017, 9, 25)).minimum_s == 600
    assert book.billing_on(dt.date(2017, 9, 26)).minimum_s == 60


@pytest.mark.parametrize(
    ("duration_s", "billed_s"), [("70", 600), ("600", 600), ("600.1", 660), ("3601", 3660)]
)
def test_time_is_billed_in_whole_minutes_from_ten_minutes_on(
    duration_s: str, billed_s: int
) -> None:
    book = load_book("gcp-2017-08")
    assert book.billing_on(book.as_of).billed_s(Decimal(duration_s)) == billed_s


@pytest.mark.parametrize(
    ("hours", "at_full_price"),
    [("2.5", "2.5"), ("182.5", "182.5"), ("365", "328.5"), ("730", "511"), ("8760", "6132")],
)
def test_the_discount_is_a_function_of_the_hours_used(hours: str, at_full_price: str) -> None:
    full_price_s = TIERS.full_price_s(Decimal(hours) * 3600, MONTH_S)
    assert full_price_s == Decimal(at_full_price) * 3600


SECONDS = st.decimals(min_value=0, max_value=10**8, places=3)


@given(SECONDS, SECONDS)
def test_more_time_never_costs_less_and_never_more_than_list_price(a: Decimal, b: Decimal) -> None:
    less, more = sorted((a, b))
    assert TIERS.full_price_s(less, MONTH_S) <= TIERS.full_price_s(more, MONTH_S) <= more
    assert TIERS.full_price_s(more, MONTH_S) >= more * Decimal("0.7")
    assert SustainedUse().full_price_s(more, MONTH_S) == more


def test_tiers_must_reach_the_whole_month() -> None:
    with pytest.raises(ValueError, match=r"rise to 1\.00"):
        SustainedUse(tiers=(Tier(Decimal("0.5"), Decimal(1)),))


@pytest.mark.parametrize("value", ["0", "-0.1", "nan", "inf", "", "x", 0.0])
def test_a_flat_price_must_be_a_number_above_zero(value: str | float) -> None:
    with pytest.raises(ConfigError, match="own: expected a number above 0, found"):
        parse_price(value, "own")


def test_the_book_shown_in_the_documentation_can_be_used(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "cost.md").read_text()
    path = tmp_path / "example.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0])
    assert read_book(path).machine["fast-8"].gpu == "1 L4"
