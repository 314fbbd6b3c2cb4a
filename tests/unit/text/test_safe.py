from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnnbench.text import safe

TEXTS = st.text() | st.text(
    st.sampled_from("\x00\x07\x1b\x7f\x9b\r\n\t\x0b\x85\u2028\u202e\u200b|`[<&")
)


def acts(text: str) -> list[str]:
    """List the characters that a terminal or a reader's eye would be fooled by."""
    return [sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("two  spaces", "two  spaces"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\x9b2Jb", r"a\x9b2Jb"),
        ("progress\r\nerror: forged\n", "progress error: forged"),
        ("a\x00b", r"a\x00b"),
        ("user\u202egpj.exe", r"user\u202egpj.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("no-break\xa0space, tab\t", "no-break space, tab"),
        ("next\x85line\u2028break", "next line break"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
        ("µs, 3 ± 1, é", "µs, 3 ± 1, é"),
        ("", ""),
        ("\n \n", ""),
    ],
)
def test_any_text_becomes_one_line_in_which_nothing_acts(text: str, line: str) -> None:
    assert safe.one_line(text) == line


def test_a_line_has_a_limit_and_tells_what_was_left_out() -> None:
    assert safe.one_line("a" * 10, 10) == "a" * 10
    assert safe.one_line("a" * 1234, 10) == "aaaaaaaaaa ... (1,234 characters)"
    assert safe.one_line("\x1b" * 10, 10) == r"\x1b\x1b\x ... (10 characters)"
    assert len(safe.one_line("\x1b\n" * 15_000_000)) < safe.LIMIT + 40


@given(TEXTS)
def test_nothing_that_acts_is_left_for_any_place(text: str) -> None:
    assert acts(safe.one_line(text)) == []
    assert acts(safe.visible(text)) == []
    assert acts(safe.markdown(text)) == []
    assert acts(str(safe.csv_field(text))) == []


@given(st.text(), TEXTS)
def test_json_keeps_its_data_and_shows_no_control_character(key: str, text: str) -> None:
    document = {key.encode(errors="replace").decode(): text.encode(errors="replace").decode()}
    written = safe.json_text(document)
    assert json.loads(written) == document
    assert set(acts(written)) <= {"\n"}
    assert len(written.splitlines()) == 3  # the text has added none


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("killed <by> the | kernel", "killed &lt;by> the \\| kernel"),
        ("`code` *bold* ~~struck~~", "\\`code\\` \\*bold\\* \\~\\~struck\\~\\~"),
        ("![pixel](http://a/b)", "!\\[pixel\\](http://a/b)"),
        ("examples_per_s, __init__ and _x_", "examples_per_s, \\_\\_init\\_\\_ and \\_x\\_"),
        ("&lt;script>", "&amp;lt;script>"),
        ("a\\|b", "a\\\\\\|b"),
        ("# title\n# title", "\\# title # title"),
        ("> quotation", "\\> quotation"),
        ("- entry", "\\- entry"),
        ("-", "-"),
        ("+7.0", "+7.0"),
    ],
)
def test_markdown_shows_text_and_takes_none_of_it_for_markup(text: str, line: str) -> None:
    assert safe.markdown(text) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://bob:secret@pypi.example/simple", "see https://***@pypi.example/simple"),
        ("https:/bob:secret@host is not a file", "https:/***@host is not a file"),
        ("https://token@host", "https://***@host"),
        ("https://b:p%40ss@host and http://u:p@h:1/a", "https://***@host and http://***@h:1/a"),
        ("https://bob:p@ss@host/", "https://***@host/"),
        ("https://bob:se/cret@host/simple", "https://***@host/simple"),
        ("http://host:8080/@scope/package", "http://host:8080/@scope/package"),
        ("https://host/simple, mail a@b", "https://host/simple, mail a@b"),
        ("user@host", "user@host"),
    ],
)
def test_the_login_of_a_url_is_shown_nowhere(text: str, shown: str) -> None:
    assert safe.redacted(text) == shown
    assert safe.one_line(text) == shown
    assert safe.visible(text) == shown
    assert safe.csv_field(text) == shown
    assert safe.markdown(text) == shown.replace("*", "\\*")
    assert json.loads(safe.json_text({"a": "http://x", "b": text})) == {"a": "http://x", "b": shown}


def test_a_login_is_hidden_where_a_line_is_cut_in_the_middle_of_it() -> None:
    for limit in range(8, 30):
        assert "PASS" not in safe.one_line("http://bob:PASSPASSPASS@host", limit)


def test_a_spreadsheet_takes_no_text_for_a_formula_and_figures_stay_figures() -> None:
    assert safe.csv_field("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert safe.csv_field("@a\nb") == "'@a b"
    assert [safe.csv_field(value) for value in (-1.5, None, "node-1")] == [-1.5, None, "node-1"]
