"""Pictures of the HTML report of a sweep for the documentation, taken in a real browser.

``python -m benchmarks.screenshots SWEEP [DIRECTORY]`` writes ``report-light.png`` and
``report-dark.png``, by default into docs/images. SWEEP is the path of its directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from dnnbench.analysis.context import load_analysis
from dnnbench.report import page
from dnnbench.report.figures.picture import Subject
from dnnbench.sweep.documents import write_whole
from dnnbench.sweep.results import open_sweep

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
SCHEMES: Final = {"dark": 0, "light": 1}
"""Color scheme -> its number in Chromium's setting."""
WIDTH, HEIGHT = 1000, 1500
TIMEOUT_S = 240.0


def browser() -> str | None:
    """Return the command of a browser that can take pictures; None if none is installed."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def photograph(command: str, html: Path, picture: Path, scheme: str) -> None:
    """Take a picture of the top of a page, ``WIDTH`` x ``HEIGHT`` pixels, in a color scheme.

    Raises:
        subprocess.CalledProcessError: the browser failed.
        subprocess.TimeoutExpired: it took longer than ``TIMEOUT_S``.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [
            command,
            "--headless",
            "--hide-scrollbars",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--user-data-dir={profile}",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            f"--screenshot={picture}",
            html.resolve().as_uri(),
        ]
        if os.geteuid() == 0:
            arguments.insert(1, "--no-sandbox")  # Chromium refuses root otherwise
        subprocess.run(arguments, check=True, capture_output=True, timeout=TIMEOUT_S)


def main() -> None:
    """Write the report of a sweep as HTML, and take a picture of it in each color scheme."""
    path = Path(sys.argv[1])
    directory = Path(sys.argv[2] if len(sys.argv) > 2 else "docs/images")  # noqa: PLR2004
    command = browser()
    if command is None:
        sys.exit(f"needs a browser: one of {', '.join(BROWSERS)}")
    store = open_sweep(path.parent, path.name)
    outcomes = store.outcomes()
    analysis, _ = load_analysis(store, outcomes=outcomes)
    with tempfile.TemporaryDirectory() as name:
        html = Path(name) / "report.html"
        html.write_text(page.render(Subject(analysis, outcomes)), encoding="utf-8")
        for scheme in SCHEMES:
            picture = Path(name) / f"{scheme}.png"
            photograph(command, html, picture, scheme)
            target = directory / f"report-{scheme}.png"
            write_whole(target, picture.read_bytes())
            print(target)


if __name__ == "__main__":
    main()
