from __future__ import annotations

import gzip
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import numpy as np
import pytest

from dnnbench.data import catalog, download
from dnnbench.data.load import load
from dnnbench.data.locate import locate
from dnnbench.data.sets import ExampleShape, FileSet, IdxFile
from dnnbench.errors import DataError
from dnnbench.settings.schema import settings
from dnnbench.trial.spec import DataSpec

TRAIN_COUNT, VALIDATION_COUNT, TEST_COUNT = 10, 2, 4
IMAGES = "train-images-idx3-ubyte"


def test_the_help_names_every_data_set() -> None:
    named = settings()["train.dataset"].setting.help
    assert f"{', '.join(catalog.NAMES)}, or " in named


def small_file(name: str, shape: tuple[int, ...], seed: int) -> tuple[IdxFile, bytes]:
    header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
    content = header + np.random.default_rng(seed).bytes(int(np.prod(shape)))
    archive = gzip.compress(content, mtime=0)
    unpacked, packed = (hashlib.sha256(part).hexdigest() for part in (content, archive))
    return IdxFile(name, shape, unpacked, packed, len(archive)), archive


@pytest.fixture
def archives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Put a small set in the place of mnist, without mirrors; return its archives by name."""
    learn = TRAIN_COUNT + VALIDATION_COUNT
    made = [
        small_file(IMAGES, (learn, 28, 28), 1),
        small_file("train-labels-idx1-ubyte", (learn,), 2),
        small_file("t10k-images-idx3-ubyte", (TEST_COUNT, 28, 28), 3),
        small_file("t10k-labels-idx1-ubyte", (TEST_COUNT,), 4),
    ]
    small = FileSet(
        name="mnist",
        title="MNIST",
        folders=("MNIST/raw",),
        image=(28, 28, 1),
        stand_in="synthetic-mnist",
        files=(made[0][0], made[1][0], made[2][0], made[3][0]),
        mirrors=(),
        system_directory=tmp_path / "system",
        validation_count=VALIDATION_COUNT,
    )
    monkeypatch.setitem(catalog.FILE_SETS, "mnist", small)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return {f"{file.name}.gz": archive for file, archive in made}


def write(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class CutsOff(Quiet):
    """Promise the whole file and send half of it."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2])


Offer = Callable[..., None]


@pytest.fixture
def offer(
    archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Offer]:
    """Give the small set a mirror of each kind, in this order; no kind: no mirror."""
    servers: list[ThreadingHTTPServer] = []

    def serve(files: dict[str, bytes], handler: type[Quiet] = Quiet) -> str:
        directory = write(tmp_path / f"mirror{len(servers)}", files)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(directory)))
        servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    kinds: dict[str, Callable[[], str]] = {
        "good": lambda: serve(archives),
        "wrong checksum": lambda: serve({name: a[:-1] + b"x" for name, a in archives.items()}),
        "cut off": lambda: serve(archives, CutsOff),
        "without the files": lambda: serve({}),
        "dead": dead_address,
    }

    def set_mirrors(*wanted: str) -> None:
        addresses = tuple(kinds[kind]() for kind in wanted)
        changed = msgspec.structs.replace(catalog.FILE_SETS["mnist"], mirrors=addresses)
        monkeypatch.setitem(catalog.FILE_SETS, "mnist", changed)

    yield set_mirrors
    for server in servers:
        server.shutdown()
        server.server_close()


def dead_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def files_below(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}


def test_a_given_directory_is_found_and_loaded_with_the_last_examples_for_validation(
    archives: dict[str, bytes], tmp_path: Path
) -> None:
    found = locate("mnist", write(tmp_path / "given", archives), cache_dir=tmp_path / "cache")
    data = load(found.order)

    assert found.note is None
    assert [len(part) for part in data[:6]] == [10, 10, 2, 2, 4, 4]
    assert data.train_images.shape == (10, 784)
    assert data.examples == ExampleShape((28, 28, 1), classes=10)
    labels = gzip.decompress(archives["train-labels-idx1-ubyte.gz"])[8:]
    assert data.train_labels.tobytes() + data.validation_labels.tobytes() == labels
    pixels = gzip.decompress(archives[f"{IMAGES}.gz"])[16:]
    assert data.train_images.tobytes() + data.validation_images.tobytes() == pixels


@pytest.mark.parametrize("below", ["", "mnist", "MNIST/raw"])
def test_unpacked_and_repacked_files_and_other_layouts_have_the_same_digest(
    archives: dict[str, bytes], tmp_path: Path, below: str
) -> None:
    published = locate("mnist", write(tmp_path / "published", archives))
    repacked = {name: gzip.compress(gzip.decompress(a), 1) for name, a in archives.items()}
    repacked["train-images.idx3-ubyte"] = gzip.decompress(repacked.pop(f"{IMAGES}.gz"))
    write(tmp_path / "other" / below, repacked)

    other = locate("mnist", tmp_path / "other")

    assert other.order.digest == published.order.digest
    assert all(map(np.array_equal, load(other.order)[:6], load(published.order)[:6]))


def swapped_counts(content: bytes) -> bytes:
    return content[:4] + bytes((0, 0, 0, 28)) + content[8:]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda a: a[: len(a) // 2], "truncated"),
        (lambda _: b"<html>not found</html>", "not a sound gzip file"),
        (lambda a: a[:-8] + bytes(8), "not a sound gzip file"),
        (
            lambda a: gzip.compress(gzip.decompress(a)[:-1]),
            "truncated: 9,423 bytes, expected 9,424",
        ),
        (lambda a: gzip.compress(gzip.decompress(a) + b"x"), "too long"),
        (lambda a: gzip.compress(b"PNG!" + gzip.decompress(a)[4:]), "starts with 504e4721"),
        (lambda a: gzip.compress(swapped_counts(gzip.decompress(a))), "holds 28 x 28 x 28 values"),
        (lambda a: gzip.compress(gzip.decompress(a)[:-1] + b"x"), "wrong content"),
        (lambda _: gzip.compress(b""), "not such an IDX file"),
    ],
)
def test_a_damaged_file_in_a_given_directory_is_named_in_one_line(
    archives: dict[str, bytes], tmp_path: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    archives[f"{IMAGES}.gz"] = damage(archives[f"{IMAGES}.gz"])
    given = write(tmp_path / "given", archives)

    with pytest.raises(DataError) as error:
        locate("mnist", given)

    assert said in error.value.problem
    assert error.value.where == str(given / f"{IMAGES}.gz")
    assert "\n" not in str(error.value)
    assert (given / f"{IMAGES}.gz").exists()  # the user's own file is never removed


def test_a_file_of_another_set_is_recognized(archives: dict[str, bytes], tmp_path: Path) -> None:
    archives["t10k-images-idx3-ubyte.gz"] = small_file("x", (TEST_COUNT, 28, 28), 5)[1]
    other = small_file("t10k-images-idx3-ubyte", (TEST_COUNT, 28, 28), 5)[0]
    fashion = catalog.FILE_SETS["fashion-mnist"]
    given = write(tmp_path / "given", archives)
    with pytest.MonkeyPatch.context() as patch:
        changed = msgspec.structs.replace(fashion, files=(other, *fashion.files[1:]))
        patch.setitem(catalog.FILE_SETS, "fashion-mnist", changed)
        with pytest.raises(DataError, match="this is a file of Fashion-MNIST"):
            locate("mnist", given)


def test_a_directory_with_another_set_is_named_as_such(
    archives: dict[str, bytes], tmp_path: Path
) -> None:
    fashion = catalog.FILE_SETS["fashion-mnist"]
    pattern = enumerate(catalog.FILE_SETS["mnist"].files)
    made = [small_file(file.name, file.shape, 20 + n) for n, file in pattern]
    with pytest.MonkeyPatch.context() as patch:
        changed = msgspec.structs.replace(fashion, files=tuple(file for file, _ in made))
        patch.setitem(catalog.FILE_SETS, "fashion-mnist", changed)
        given = write(tmp_path / "given", archives)
        expected = "holds MNIST, not Fashion-MNIST; give --data-dir another directory"
        with pytest.raises(DataError, match=f"^{given}: {expected}$"):
            locate("fashion-mnist", given)
        other = write(tmp_path / "other", {f"{file.name}.gz": a for file, a in made})
        with pytest.raises(DataError, match="holds Fashion-MNIST, not MNIST"):
            locate("mnist", other)


def test_a_directory_with_some_of_the_files_is_refused_naming_the_missing(
    archives: dict[str, bytes], tmp_path: Path
) -> None:
    del archives["t10k-labels-idx1-ubyte.gz"]
    with pytest.raises(DataError, match="no t10k-labels-idx1-ubyte here"):
        locate("mnist", write(tmp_path / "given", archives))


def test_a_given_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such directory"):
        locate("mnist", tmp_path / "nowhere")


def test_the_order_of_places_is_given_cache_system(
    archives: dict[str, bytes], tmp_path: Path
) -> None:
    given, cache = tmp_path / "given", tmp_path / "cache"
    write(tmp_path / "system", archives)
    assert locate("mnist", cache_dir=cache).order.directory == str(tmp_path / "system")
    write(cache / "mnist", archives)
    assert locate("mnist", cache_dir=cache).order.directory == str(cache / "mnist")
    write(given, archives)
    assert locate("mnist", given, cache_dir=cache).order.directory == str(given)


@pytest.mark.usefixtures("archives")
def test_where_nothing_is_found_synthetic_data_stand_in_and_the_note_says_why(
    tmp_path: Path,
) -> None:
    found = locate("mnist", cache_dir=tmp_path / "cache")
    assert found.order.name == "synthetic-mnist"
    assert found.note == (
        "mnist was not found and could not be downloaded; using generated data (synthetic-mnist) "
        "instead"
    )
    assert found.details.startswith(f"not in {tmp_path}/cache/mnist; not in {tmp_path}/system; no ")


def test_the_home_directory_is_not_named(
    offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("dead")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = locate("mnist", cache_dir=tmp_path / "cache")
    assert found.details.startswith("not in ~/cache/mnist; not in ~/system; ")
    offer("good")
    (tmp_path / "file").write_text("a file where the directory should be")
    details = locate("mnist", cache_dir=tmp_path / "file").details
    assert "~/file/mnist cannot be written" in details
    assert str(tmp_path) not in details


@pytest.mark.usefixtures("archives")
@pytest.mark.parametrize("wish", ["by name", "by directory"])
def test_nothing_stands_in_for_a_set_that_was_asked_for(tmp_path: Path, wish: str) -> None:
    with pytest.raises(DataError, match=r"mnist is not to be had.*--data-dir") as error:
        locate(
            "mnist",
            tmp_path if wish == "by directory" else None,
            explicit=wish == "by name",
            cache_dir=tmp_path / "cache",
        )
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean fashion-mnist"):
        locate("fashion-mnits")


def test_a_download_is_kept_verified_and_reported(
    archives: dict[str, bytes], offer: Offer, tmp_path: Path
) -> None:
    offer("good")
    seen: list[tuple[str, int, int]] = []

    found = locate("mnist", cache_dir=tmp_path / "cache", progress=lambda *step: seen.append(step))

    total_bytes = sum(map(len, archives.values()))
    assert found.order.directory == str(tmp_path / "cache" / "mnist")
    assert files_below(tmp_path / "cache") == set(archives)
    assert {name for name, _, _ in seen} == {name.removesuffix(".gz") for name in archives}
    assert seen[-1][1:] == (total_bytes, total_bytes)
    assert all(0 < done <= total == total_bytes for _, done, total in seen)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    offer()
    assert locate("mnist", cache_dir=tmp_path / "cache") == found  # now from the cache


BAD_MIRRORS = {
    "wrong checksum": "wrong SHA-256",
    "cut off": "broke off",
    "without the files": "does not have it",
    "dead": "no connection",
}


@pytest.mark.parametrize("kind", BAD_MIRRORS)
def test_a_bad_mirror_is_replaced_by_the_next(
    archives: dict[str, bytes], offer: Offer, tmp_path: Path, kind: str
) -> None:
    offer(kind, "good")

    found = locate("mnist", explicit=True, cache_dir=tmp_path / "cache")

    assert load(found.order).test_labels.shape == (TEST_COUNT,)
    assert files_below(tmp_path / "cache") == set(archives)


@pytest.mark.parametrize(("kind", "said"), BAD_MIRRORS.items())
def test_nothing_bad_is_kept_and_the_reason_is_given(
    offer: Offer, tmp_path: Path, kind: str, said: str
) -> None:
    offer(kind)

    found = locate("mnist", cache_dir=tmp_path / "cache")

    assert found.order.name == "synthetic-mnist"
    assert said in found.details
    assert files_below(tmp_path / "cache") == set()


def test_a_damaged_file_in_the_cache_is_downloaded_again(
    archives: dict[str, bytes], offer: Offer, tmp_path: Path
) -> None:
    offer("good")
    kept = write(tmp_path / "cache" / "mnist", {**archives, f"{IMAGES}.gz": b"half a"})

    found = locate("mnist", explicit=True, cache_dir=tmp_path / "cache")

    assert found.order.directory == str(kept)
    assert (kept / f"{IMAGES}.gz").read_bytes() == archives[f"{IMAGES}.gz"]


@pytest.mark.usefixtures("archives")
def test_a_mirror_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(download, "ANSWER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(download, "READ_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, by its backlog, and no more
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        changed = msgspec.structs.replace(catalog.FILE_SETS["mnist"], mirrors=(address,))
        monkeypatch.setitem(catalog.FILE_SETS, "mnist", changed)
        found = locate("mnist", cache_dir=tmp_path / "cache")
    assert "no answer" in found.details


def test_a_cache_that_cannot_be_written_is_a_reason_and_no_crash(
    offer: Offer, tmp_path: Path
) -> None:
    offer("good")
    (tmp_path / "cache").write_text("a file where the directory should be")
    found = locate("mnist", cache_dir=tmp_path / "cache")
    assert "cannot be written" in found.details


def test_data_of_another_digest_than_the_order_are_refused(
    archives: dict[str, bytes], tmp_path: Path
) -> None:
    given = write(tmp_path / "given", archives)
    with pytest.raises(DataError, match="digest"):
        load(DataSpec("mnist", str(given), "0" * 64))


@pytest.mark.parametrize("wanted", catalog.FILE_SETS.values(), ids=catalog.FILE_SETS)
def test_every_real_set_has_two_mirrors_and_its_own_digest(wanted: FileSet) -> None:
    assert len(wanted.mirrors) >= 2
    assert all(mirror.endswith("/") for mirror in wanted.mirrors)
    checksums = [file.content_sha256 for file in wanted.files]
    checksums += [archive.sha256 for archive in wanted.archives]
    assert len(set(checksums)) == len(checksums) >= 7
    assert all(len(bytes.fromhex(checksum)) == 32 for checksum in checksums)
    assert len({known.digest for known in catalog.FILE_SETS.values()}) == len(catalog.FILE_SETS)


@pytest.mark.skipif("MNIST_TEST_DIR" not in os.environ, reason="names a directory with MNIST")
def test_the_real_mnist_is_what_the_catalog_says() -> None:
    found = locate("mnist", Path(os.environ["MNIST_TEST_DIR"]), explicit=True)
    data = load(found.order)
    assert [part.shape for part in data[:6:2]] == [(55_000, 784), (5_000, 784), (10_000, 784)]
    # Counts of the digit 0 in the published test labels, and the first of them: a 7.
    assert np.count_nonzero(data.test_labels == 0) == 980
    assert data.test_labels[0] == 7
    assert round(float(data.train_images.mean()) / 255, 3) == 0.131


def test_headers_are_those_of_the_format() -> None:
    labels = catalog.FILE_SETS["fashion-mnist"].files[3]
    assert labels.header.hex() == "0000080100002710"
