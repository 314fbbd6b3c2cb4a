"""Rules for docstrings and comments, as far as a machine can check them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
MODULES: Final = sorted(
    path for folder in ("dnnbench", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)

_CLAUSE: Final = re.compile(r"(What|Which|Where|Whether|How|Who|Whose|Whoever)\b")
_POINTER: Final = re.compile(r"#.*\bas (said )?above\b", re.IGNORECASE)
_WORN: Final = re.compile(
    r"Safe to do twice|\bis there already\b|\bso many\b|\bwhoever\b", re.IGNORECASE
)

_STEMS: Final = (
    "author|character|color|general|initial|normal|organ|random|real|recogn|standard|util"
)
_BRITISH: Final = re.compile(
    rf"\b(\w*(colour|behaviour|favour|neighbour|catalogue)|\w*({_STEMS})is(e|ed|es|ing|ation)\b"
    r"|(analys(ed|ing)|cancelled|centred?|grey|labelled|licence|afterwards|towards)\b)",
    re.IGNORECASE,
)
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def module_docstring_fault(text: str) -> str | None:
    """Return the first line of a module's docstring if it is missing or begins with a clause."""
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return None if first and not _CLAUSE.match(first) else first


def worn_phrases(text: str) -> list[str]:
    """Return the lines with a phrase that has a plain one, or a comment that points elsewhere."""
    return [line for line in text.splitlines() if _POINTER.search(line) or _WORN.search(line)]


def british_words(text: str) -> list[str]:
    """Return the words that American English spells otherwise."""
    return [word[0] for word in _BRITISH.finditer(text)]


def name(path: Path) -> str:
    """Return a module's path in the project."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_described_by_a_noun_or_a_verb_and_in_plain_words(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert module_docstring_fault(text) is None
    assert worn_phrases(text) == []
    assert british_words(text) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_a_document_is_in_american_english(path: Path) -> None:
    assert british_words(path.read_text(encoding="utf-8")) == []


def test_the_check_finds_what_it_is_for() -> None:
    assert module_docstring_fault('"""What runs on a host."""') == "What runs on a host."
    assert module_docstring_fault("x = 1") == ""
    assert module_docstring_fault('"""Whatever runs on a host, as a noun."""') is None
    assert worn_phrases("close()  # As above.\nopen()") == ["close()  # As above."]
    assert worn_phrases("import a  # as said above") == ["import a  # as said above"]
    assert worn_phrases('"""Close it. Safe to do twice."""') != []
    assert british_words("initialise the colours; a promise, analyses, precise") == [
        "initialise",
        "colour",
    ]
    assert worn_phrases("used for the given time, above all") == []
