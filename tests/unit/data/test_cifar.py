"""CIFAR-10's binary form, on files that the test makes."""

from __future__ import annotations

import hashlib
import io
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from dnnbench.data import catalog
from dnnbench.data.load import load
from dnnbench.data.locate import locate, stored_files
from dnnbench.data.sets import Archive, ExampleShape, PublishedFile
from dnnbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALUES = 3 * 32 * 32
PER_FILE = 4
NAMES = [file.name for file in catalog.FILE_SETS["cifar-10"].files]


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Put a small set in the place of cifar-10, without mirrors; return its files by name."""
    random = np.random.default_rng(11)
    made = {name: random.bytes(PER_FILE * (1 + VALUES)) for name in NAMES}
    real = catalog.FILE_SETS["cifar-10"]
    small = msgspec.structs.replace(
        real,
        files=tuple(
            PublishedFile(name, (PER_FILE, 1 + VALUES), hashlib.sha256(content).hexdigest())
            for name, content in made.items()
        ),
        mirrors=(),
        validation_count=3,
    )
    monkeypatch.setitem(catalog.FILE_SETS, "cifar-10", small)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return made


def write(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


@pytest.mark.parametrize("below", ["", "cifar-10", "cifar-10-batches-bin"])
def test_records_become_images_with_the_colors_of_a_pixel_together(
    contents: dict[str, bytes], tmp_path: Path, below: str
) -> None:
    write(tmp_path / below, contents)
    found = locate("cifar-10", tmp_path)
    data = load(found.order)

    assert data.examples == found.examples == ExampleShape((32, 32, 3), classes=10)
    assert [len(part) for part in data[:6]] == [17, 17, 3, 3, 4, 4]
    assert found.order.train_examples == 17
    second = contents["data_batch_2.bin"][1 + VALUES :]  # its second record, the sixth of all
    assert data.train_labels[5] == second[0]
    image = data.train_images[5].reshape(32, 32, 3)
    for row, column, channel in ((0, 0, 0), (0, 1, 0), (1, 0, 2), (31, 31, 1)):
        assert image[row, column, channel] == second[1 + channel * 1024 + row * 32 + column]
    tested = contents["test_batch.bin"]
    assert data.test_labels.tolist() == [tested[n * (1 + VALUES)] for n in range(4)]
    assert not any(part.flags.writeable for part in data[:6])
    assert [path.name for path in stored_files(found.order)] == NAMES


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-1], "truncated: 12,291 bytes, expected 12,292"),
        (lambda content: content + b"x", "too long"),
        (lambda content: content[:-1] + b"xy"[: 1 + 0], "wrong content"),
    ],
)
def test_a_damaged_file_is_named(
    contents: dict[str, bytes], tmp_path: Path, damage: Any, said: str
) -> None:
    contents["data_batch_3.bin"] = damage(contents["data_batch_3.bin"])
    with pytest.raises(DataError, match=said) as error:
        locate("cifar-10", write(tmp_path, contents))
    assert error.value.where == str(tmp_path / "data_batch_3.bin")


def packed(contents: dict[str, bytes]) -> bytes:
    """Return an archive as the published one, with files that nobody asked for."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        extras = {"batches.meta.txt": b"airplane", "../../escaped.bin": b"out"}
        for name, content in {**contents, **extras}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def mirror(
    tmp_path: Path, contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Give the small set a mirror; return its directory."""
    archive = packed(contents)
    directory = write(tmp_path / "mirror", {"cifar-10-binary.tar.gz": archive})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    changed = msgspec.structs.replace(
        catalog.FILE_SETS["cifar-10"],
        mirrors=(f"http://127.0.0.1:{server.server_port}/",),
        archive=Archive(
            "cifar-10-binary.tar.gz", hashlib.sha256(archive).hexdigest(), len(archive)
        ),
    )
    monkeypatch.setitem(catalog.FILE_SETS, "cifar-10", changed)
    yield directory
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("mirror")
def test_the_archive_is_downloaded_and_only_its_six_files_are_kept(
    contents: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    seen: list[tuple[str, int, int]] = []
    found = locate("cifar-10", cache_dir=cache, progress=lambda *step: seen.append(step))
    assert found.order.directory == str(cache / "cifar-10")
    kept = {path.name: path.read_bytes() for path in (cache / "cifar-10").iterdir()}
    assert kept == contents
    assert seen[-1][1] == seen[-1][2] > 0
    assert not list(tmp_path.rglob("escaped.bin"))


def test_an_archive_of_other_content_is_not_kept(mirror: Path, tmp_path: Path) -> None:
    write(mirror, {"cifar-10-binary.tar.gz": packed({})})
    found = locate("cifar-10", cache_dir=tmp_path / "cache")
    assert found.order.name == "synthetic-cifar-10"
    assert found.examples.image == (32, 32, 3)
    assert "wrong SHA-256" in found.details
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))


@pytest.mark.usefixtures("contents")
def test_an_archive_that_was_not_unpacked_is_said_to_be_one(tmp_path: Path) -> None:
    given = write(tmp_path, {"cifar-10-binary.tar.gz": b"packed"})
    with pytest.raises(DataError, match="not unpacked; unpack it there: tar xzf cifar-10-binary"):
        locate("cifar-10", given)
