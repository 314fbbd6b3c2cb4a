"""All benchmarks, one after the other: ``python -m benchmarks --json all.json --markdown all.md``.

They take about an hour and a half on two cores; the machine must be otherwise idle.
"""

from __future__ import annotations

from benchmarks import checkpoints, command_line, compensation, provision, scale, startup, step
from benchmarks.harness import main

if __name__ == "__main__":
    main(
        __doc__ or "",
        step.measure,
        compensation.measure,
        checkpoints.measure,
        scale.measure,
        startup.measure,
        command_line.measure,
        provision.measure,
    )
