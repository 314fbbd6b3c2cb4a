"""A strict reading of a page of HTML, for tests."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = {"br", "meta"}
_REFERENCES = {"href", "src", "srcset", "xlink:href", "action", "data", "poster"}
_ACTIVE = {"script", "iframe", "object", "embed", "link", "base", "form", "a", "img", "image"}


class Page(HTMLParser):
    """A page that is well-formed and loads nothing; anything else is an AssertionError.

    Attributes:
        texts: element -> the text of each such element, children included.
        ids: of its elements.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.ids: list[str] = []
        self._open: list[tuple[str, list[str]]] = []
        self._used: set[str] = set()
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"
        assert len(set(self.ids)) == len(self.ids), "an id is used twice"
        assert self._used <= set(self.ids), "a reference leads nowhere"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in _ACTIVE, f"<{tag}>"
        for name, value in attrs:
            assert not name.startswith("on"), name
            self._check_style(value or "")
            if name in _REFERENCES:
                assert value, name
                assert value.startswith("#"), value
                self._used.add(value[1:])
            if name == "id" and value:
                self.ids.append(value)
        if tag not in _VOID:
            self._open.append((tag, []))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        opened, parts = self._open.pop()
        assert opened == tag, f"</{tag}> ends <{opened}>"
        self.texts.setdefault(tag, []).append("".join(parts))

    def handle_data(self, data: str) -> None:
        for _, parts in self._open:
            parts.append(data)
        if self._open and self._open[-1][0] == "style":
            self._check_style(data)
            assert "@import" not in data

    def handle_comment(self, data: str) -> None:
        assert not data.startswith("["), "a conditional comment acts"

    def _check_style(self, text: str) -> None:
        for target in re.findall(r"url\(\s*['\"]?([^)'\"]*)", text):
            assert target.startswith("#"), target
            self._used.add(target[1:])
