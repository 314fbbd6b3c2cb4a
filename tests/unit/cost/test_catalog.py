"""SkyPilot's catalogs: read as they are, refused by line."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnnbench.cost import bases_of_book, basis_of_book, load_book
from dnnbench.cost import catalog as catalog_module
from dnnbench.cost.catalog import read_catalog
from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

GPU_INFO = (
    "{'Gpus': [{'Name': 'V100', 'Manufacturer': 'NVIDIA', 'Count': 8.0, 'MemoryInfo': "
    "{'SizeInMiB': 16384}}], 'TotalGpuMemoryInMiB': 16384}"
)
LAMBDA = f"""\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice
cpu_4x,,,4.0,16.0,0.25,europe-central-1,,
cpu_4x,,,4.0,16.0,0.20,us-east-1,,
gpu_8x,V100,8.0,88.0,448.0,6.32,us-east-1,"{GPU_INFO}",2.10
"""
GOOGLE = """\
InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice
e2-micro,0.25,1.0,,,,us-central1,us-central1-a,0.0084,0.0025
n1-standard-4,4.0,15.0,,,,us-central1,us-central1-a,0.19,0.04
n1-standard-4,4.0,15.0,,,,us-central1,us-central1-b,0.19,0.05
n1-standard-4,4.0,15.0,,,,asia-east1,asia-east1-a,0.22,0.03
,,,V100,1.0,,us-central1,us-central1-a,2.48,0.74
"""


def written(tmp_path: Path, text: str, name: str = "vms.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_catalog_is_read_with_each_type_where_it_is_cheapest(tmp_path: Path) -> None:
    book = load_book(str(written(tmp_path, LAMBDA)))
    assert list(book.machine) == ["cpu_4x", "gpu_8x"]
    small, large = book.machine.values()
    assert (small.usd_per_hour, small.region) == (Decimal("0.20"), "us-east-1")
    assert (small.gpu, small.spot_usd_per_hour) == (None, None)
    assert small.ram_gb == 16
    assert str(small.vcpus) == "4"  # not 4.0
    assert (large.gpu, large.spot_usd_per_hour) == ("8 V100", Decimal("2.10"))
    assert book.default_machine == "cpu_4x"
    assert book.regions == ("europe-central-1", "us-east-1")
    assert any("cheapest region" in text for text in book.assumptions)


def test_the_order_of_the_columns_does_not_matter(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(LAMBDA)))
    other = io.StringIO()
    names = sorted(rows[0], reverse=True)
    writer = csv.DictWriter(other, [*names, "Arch"])
    writer.writeheader()
    writer.writerows(row | {"Arch": "x86_64"} for row in rows)
    first = read_catalog(written(tmp_path, LAMBDA))
    assert read_catalog(written(tmp_path, other.getvalue())).machine == first.machine


def test_googles_accelerators_without_a_machine_are_left_out_and_counted(tmp_path: Path) -> None:
    book = read_catalog(written(tmp_path, GOOGLE))
    assert list(book.machine) == ["e2-micro", "n1-standard-4"]
    assert book.machine["e2-micro"].vcpus == 0.25
    assert any(text.startswith("1 rows of accelerators") for text in book.assumptions)
    basis = basis_of_book(book, "n1-standard-4")
    assert basis.spot_rate is not None
    assert basis.spot_rate.usd_per_hour == Decimal("0.04")


def test_a_region_can_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, GOOGLE)
    book = load_book(str(path), "asia-east1")
    assert {name: m.usd_per_hour for name, m in book.machine.items()} == {
        "n1-standard-4": Decimal("0.22")
    }
    assert book.regions == ("asia-east1",)
    with pytest.raises(
        ConfigError, match="no prices of region 'asia-east2'; did you mean asia-east1"
    ):
        load_book(str(path), "asia-east2")
    with pytest.raises(ConfigError, match="has no region 'mars'; it has us-central1"):
        load_book("gcp-2026-08", "mars")


@pytest.mark.parametrize(
    ("price", "found"),
    [
        ("", "expected a number above 0, found ''"),
        ("0", "expected a number above 0, found 0"),
        ("0.0", "expected a number above 0, found 0.0"),
        ("-1.5", "expected a number above 0, found -1.5"),
        ("nan", "expected a number above 0, found 'nan'"),
        ("inf", "expected a number above 0, found 'inf'"),
        ("free", "expected a number above 0, found 'free'"),
        (
            "1e24",
            "expected a number from 0.000000001 to 1,000,000, found 1000000000000000000000000",
        ),
        ("1e400", "expected a number from 0.000000001 to 1,000,000, found 1E\\+400"),
        ("1e-40", "expected a number from 0.000000001 to 1,000,000, found 1E-40"),
        ("0." + "1" * 60, "expected at most 30 digits"),
    ],
)
def test_a_price_that_cannot_be_one_is_refused_by_its_line(
    price: str, found: str, tmp_path: Path
) -> None:
    path = written(tmp_path, LAMBDA.replace(",0.20,", f",{price},"))
    with pytest.raises(ConfigError, match=rf"vms\.csv:3: Price: {found}.*; correct or remove"):
        read_catalog(path)


@pytest.mark.parametrize(
    ("good", "bad", "line"),
    [
        (",2.10\n", ",0\n", "4: SpotPrice: expected a number above 0, found 0"),
        (",4.0,16.0,0.25", ",many,16.0,0.25", "2: vCPUs: expected a number above 0, found 'many'"),
        (",4.0,16.0,0.25", ",4.0,-1,0.25", "2: MemoryGiB: expected a number above 0, found -1"),
        ("us-east-1,,\n", "us-east-1,\n", "3: expected 9 columns as in line 1, found 8"),
        ("Price,Region", "Cost,Region", "1: expected a SkyPilot catalog .* none named Price"),
        ("MemoryGiB", "Price", "1: has two columns Price"),
        ('"{', "{", "expected 9 columns"),
        (
            "cpu_4x,,,4.0,16.0,0.20",
            "x" * 300 + ",,,4.0,16.0,0.20",
            "3: InstanceType: .* at most 200",
        ),
        ("cpu_4x,,,4.0,16.0,0.20", "\x1b[2J,,,4.0,16.0,0.20", "3: InstanceType: .* printable"),
    ],
)
def test_a_row_that_is_none_is_refused_by_its_line(
    good: str, bad: str, line: str, tmp_path: Path
) -> None:
    assert good in LAMBDA
    with pytest.raises(ConfigError, match=rf"vms\.csv:{line}" if line[0].isdigit() else line):
        read_catalog(written(tmp_path, LAMBDA.replace(good, bad, 1)))


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "MOST_ROWS", 2)
    with pytest.raises(ConfigError, match=r"vms\.csv:4: expected at most 2 rows, found more"):
        read_catalog(written(tmp_path, LAMBDA))
    with pytest.raises(ConfigError, match="at most 8 MB"):
        read_catalog(written(tmp_path, LAMBDA + " " * 8_000_000))


@pytest.mark.parametrize("text", ["", "\n", LAMBDA.partition("\n")[0] + "\n"])
def test_a_catalog_without_machines_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected (machine types|a SkyPilot catalog)"):
        read_catalog(written(tmp_path, text))


VALUES = st.one_of(
    st.sampled_from(["", "4.0", "0", "-1", "1e999", "1e-999", "NaN", "sNaN", "Infinity", "0x10"]),
    st.text(max_size=12),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
)


@given(
    rows=st.lists(st.lists(VALUES, min_size=9, max_size=9), max_size=4),
    columns=st.permutations(LAMBDA.partition("\n")[0].split(",")),
)
def test_whatever_a_catalog_holds_it_is_a_book_of_good_prices_or_one_clear_line(
    rows: list[list[str]], columns: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([columns, *rows])
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_text(out.getvalue(), encoding="utf-8", errors="ignore")
    try:
        book = read_catalog(path)
    except ConfigError as refused:
        line = str(refused)
    else:
        bases = bases_of_book(book)
        line = str(path) * all(0 < basis.year_usd(basis.rate) <= 10**11 for basis in bases)
    assert "fuzz.csv" in line


@given(text=st.text(max_size=200))
def test_whatever_text_is_given_as_a_catalog_gets_a_clear_line(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "text.csv"
    path.write_text(text, encoding="utf-8", errors="ignore")
    with pytest.raises(ConfigError, match=r"text\.csv"):
        read_catalog(path)
