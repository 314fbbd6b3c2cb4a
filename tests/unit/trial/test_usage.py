from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from dnnbench.trial.usage import Reading, read_use, use_between

if TYPE_CHECKING:
    from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def kernel(root: Path, *, cpu: str, role: str = "", cpuinfo: str = "") -> Path:
    (root / "77").mkdir(parents=True)
    (root / "stat").write_text(f"{cpu}\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    (root / "77" / "stat").write_text(role)
    (root / "cpuinfo").write_text(cpuinfo)
    return root


def test_counters_are_read_from_the_kernels_files(tmp_path: Path) -> None:
    proc = kernel(
        tmp_path / "proc",
        cpu="cpu  100 20 30 9999 8888 4 6 50 7 7",
        role="77 (a (strange) name) S 1 77 77 0 -1 4 0 0 0 0 300 40 0 0 20 0 9 0 1\n",
        cpuinfo="model name : x\ncpu MHz\t\t: 2000.0\ncpu MHz\t\t: 3000.0\n",
    )
    reading = read_use([77, 78], proc, tmp_path / "nosuch")
    assert reading is not None
    assert reading.busy_s == pytest.approx(160 * TICK_S)
    assert reading.steal_s == pytest.approx(50 * TICK_S)
    assert reading.roles_s == pytest.approx(340 * TICK_S)
    assert reading.clock_mhz == 2500.0
    for core, khz in ((0, 1_000_000), (1, 2_000_000)):
        folder = tmp_path / "cpu" / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{khz}\n")
    with_clock = read_use([], proc, tmp_path / "cpu")
    assert with_clock is not None
    assert with_clock.clock_mhz == 1500.0


@pytest.mark.parametrize("cpu", ["", "cpu  1 2 3", "cpu a b c d e f g h"])
def test_a_kernel_that_does_not_tell_gives_no_reading(cpu: str, tmp_path: Path) -> None:
    proc = kernel(tmp_path / "proc", cpu=cpu, role="nonsense", cpuinfo="cpu MHz : fast\n")
    assert read_use([77], proc, tmp_path) is None
    assert read_use([77], tmp_path / "nosuch", tmp_path) is None


def test_the_use_between_two_readings_is_their_difference_and_within_bounds() -> None:
    before = Reading(10.0, 0.5, 100.0, 1.0, 20.0, 2000.0)
    after = Reading(14.0, 1.5, 107.0, 1.5, 25.0, 3000.0)
    use = use_between(before, after)
    assert (use.duration_s, use.busy_s, use.roles_s, use.steal_s) == (4.0, 7.0, 5.0, 0.5)
    assert (use.load_before, use.load_after) == (0.5, 1.5)
    assert use.clock_mhz == (2000.0, 3000.0)
    # Counters that run backward, as steal does on some hypervisors, are no use at all.
    odd = use_between(after, before)
    assert (odd.busy_s, odd.steal_s) == (0.0, 0.0)
    for one in (use, odd, use_between(before, before._replace(clock_mhz=None))):
        assert msgspec.convert(msgspec.to_builtins(one), type(one)) == one


def test_this_machine_is_read_and_a_busy_process_counts_as_its_role() -> None:
    before = read_use([os.getpid()])
    assert before is not None
    while (after := read_use([os.getpid()])) and after.roles_s <= before.roles_s + 2 * TICK_S:
        sum(range(10_000))
    assert after is not None
    use = use_between(before, after)
    assert use.busy_s > 0
    assert use.cores == os.cpu_count()
