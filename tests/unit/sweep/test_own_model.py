from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dnnbench.errors import ConfigError
from dnnbench.sweep.own_model import find_user_module


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find_user_module(name)
    return str(caught.value)


def write(path: str, text: str = "raise SystemExit('imported')\n") -> Path:
    file = Path(path).resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_model_of_dnnbench_comes_from_no_module_of_the_user() -> None:
    assert find_user_module("mnist-dnn") is None


def test_a_module_of_the_current_directory_is_found_and_not_imported() -> None:
    file = write("own_nets.py")
    assert find_user_module("own_nets:wide") == file
    assert "own_nets" not in sys.modules


def test_a_package_is_found_as_its_directory() -> None:
    package = write("nets/__init__.py").parent
    write("nets/wide.py")
    write("bare/deep/net.py")
    assert find_user_module("nets:wide") == package
    assert find_user_module("nets.wide:build") == package
    assert find_user_module("bare.deep.net:build") == Path("bare").resolve()
    assert "nets" not in sys.modules


def test_pythons_path_comes_before_the_current_directory_as_in_an_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("nets.py")
    assert find_user_module("nets:wide") == tmp_path / "nets.py"
    elsewhere = write("elsewhere/nets.py")
    monkeypatch.syspath_prepend(str(elsewhere.parent))
    assert find_user_module("nets:wide") == elsewhere


def test_a_module_that_is_nowhere_is_refused() -> None:
    assert refusal("own_nets:wide") == (
        f"[train] model: there is no source of module own_nets in {Path.cwd()} or on Python's "
        "path; save it as own_nets.py there, or install it"
    )


@pytest.mark.parametrize("top", ["random", "sys", "_struct"])
def test_a_module_with_the_name_of_one_of_pythons_is_refused(top: str) -> None:
    write(f"{top}.py")
    problem = f"{top} is the name of a module of Python itself; give {top}.py another name"
    assert refusal(f"{top}:wide") == f"[train] model: {problem}"


def test_a_module_that_its_package_lacks_is_refused() -> None:
    package = write("nets/__init__.py").parent
    assert refusal("nets.deep:build") == f"[train] model: there is no nets.deep in {package}"
    file = write("single.py")
    with pytest.raises(ConfigError, match=f"^--model: there is no single.inner in {file}$"):
        find_user_module("single.inner:build", "--model")
