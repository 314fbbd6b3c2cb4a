"""Look a host up in configuration files: every keyword that applies to it, with its line.

The first value of a keyword counts, as in OpenSSH; keys and certificates accumulate. Files are read
again with the resulting host name if ``Match final`` or CanonicalizeHostname requires it.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
import pwd
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.errors import ConfigError, nearest
from dnnbench.hosts.ssh.config import canonical, tokens
from dnnbench.hosts.ssh.config.keywords import (
    ALIASES,
    IGNORED,
    OWN_FILE,
    TREATMENTS,
    is_refused,
    refusal,
)
from dnnbench.hosts.ssh.config.lines import read_lines
from dnnbench.hosts.ssh.config.match import Situation, evaluate, matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dnnbench.hosts.ssh.config.lines import Line

_DEPTH: Final = 16  # most levels of Include, as in OpenSSH
_DEFAULT_PORT: Final = 22
_HIGHEST_PORT: Final = 65535
_ADD_UP: Final = frozenset({"certificatefile", "identityfile"})
_RIVALS: Final = {"proxycommand": "proxyjump", "proxyjump": "proxycommand"}
"""Of these two, the one that comes first counts."""
_FOR_A_SHELL: Final = re.compile(r"""[\s'"`$;&<>|(){}]|^-|\\$""")
"""Like OpenSSH, refuse these in names that do not come from the configuration itself."""
_USER_DIRECTORY: Final = "~/.ssh"
_SYSTEM_DIRECTORY: Final = "/etc/ssh"


class Source(NamedTuple):
    """A file to read.

    Attributes:
        must_be_private: refuse it if others may write to it.
        is_system: relative paths of Include are in /etc/ssh.
    """

    path: Path
    must_be_private: bool = False
    is_system: bool = False


class Found(NamedTuple):
    """The settings of a host in the files.

    Attributes:
        host: the host to connect to, after HostName.
        names: values of the tokens.
        lines: keyword -> the lines that apply; several only for keys and certificates.
    """

    host: str
    user: str
    port: int
    names: tokens.Names
    lines: dict[str, list[Line]]

    def line(self, keyword: str) -> Line | None:
        """Return the line that counts."""
        return next(iter(self.lines.get(keyword, [])), None)

    def value(self, keyword: str) -> str | None:
        """Return the value that counts; None if there is none or it is ``none``."""
        line = self.line(keyword)
        if line is None:
            return None
        value = line.argument
        return None if value.lower() == "none" else value

    def is_set(self, keyword: str) -> bool:
        """Return whether a switch is on; it is off by default."""
        line = self.line(keyword)
        if line is None:
            return False
        value = line.argument.lower()
        if value not in ("yes", "true", "no", "false"):
            raise line.bad("expected yes or no")
        return value in ("yes", "true")


class Files:
    """Configuration files, each read from the disk once."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self._lines: dict[Path, list[Line]] = {}

    def lines(self, path: Path, *, must_be_private: bool) -> list[Line]:
        """Return the lines of a file.

        Raises:
            ConfigError: it cannot be used.
        """
        if path not in self._lines:
            self._lines[path] = list(read_lines(path, must_be_private=must_be_private))
        return self._lines[path]

    def lookup(self, original: str, user: str | None = None, port: int | None = None) -> Found:
        """Return the settings that apply to a host.

        Args:
            original: the host's name as the user would give it to ssh.
            user: given elsewhere; overrides the files.
            port: likewise.

        Raises:
            ConfigError: a file is invalid, or requires what is not supported.
        """
        for name in (original, user or ""):
            if _FOR_A_SHELL.search(name):
                problem = f"{name!r} has a character that is special to a shell"
                raise ConfigError(
                    problem, remedy="use another name: it would become part of a ProxyCommand"
                )
        return _Lookup(self, original, user, port).run()


class _State(NamedTuple):
    """Whether the lines that follow apply.

    Attributes:
        applies: false if they certainly do not.
        doubt: the condition that cannot be evaluated, with its place.
    """

    applies: bool
    doubt: str | None = None


class _Lookup:
    """One host's lookup."""

    def __init__(self, files: Files, original: str, user: str | None, port: int | None) -> None:
        self._files = files
        self._original = original
        self._user = user
        self._port = port
        self._local_user = _local_user()
        self._host = original
        self._is_resolved = False
        self._is_final = False
        self._wants_final = False
        self._lines: dict[str, list[Line]] = {}

    def run(self) -> Found:
        """Read the files, and again if they require it."""
        self._read_all()
        self._host = self._host_name()
        self._is_resolved = True
        rules = canonical.rules(self._found())
        if not _is_address(self._host):
            self._host = self._host.lower()
            if rules:
                self._host = canonical.name(self._host, rules)
        if rules or self._wants_final:
            self._is_final = True
            self._read_all()
        return self._found()

    def _read_all(self) -> None:
        for source in self._files.sources:
            if source.path.exists():
                self._read(source, source.path, _State(applies=True), depth=0)

    def _read(self, source: Source, path: Path, outer: _State, depth: int) -> None:
        """Read a file; `outer` is the state in which it is included."""
        if depth > _DEPTH:
            problem = f"is included through more than {_DEPTH} files"
            raise ConfigError(problem, where=str(path))
        is_included = depth > 0
        state = outer
        must_be_private = source.must_be_private or is_included
        for line in self._files.lines(path, must_be_private=must_be_private):
            if line.keyword == "host":
                is_named = matches(line.arguments, self._host)
                state = _State(outer.applies and is_named, outer.doubt)
            elif line.keyword == "match":
                state = self._matched(line, outer)
            elif line.keyword == "include":
                for included in _included(line, source):
                    self._read(source, included, state, depth + 1)
            elif state.applies:
                self._apply(line, state.doubt)

    def _matched(self, line: Line, outer: _State) -> _State:
        situation = Situation(
            self._current_host(),
            self._original,
            self._found_user(),
            self._local_user,
            self._found_tag(),
            self._is_final,
            lambda text, at: tokens.with_tokens(text, self._found().names, tokens.FILES, at),
        )
        verdict = evaluate(line, situation)
        self._wants_final = self._wants_final or verdict.wants_final
        doubt = f"`{line.text}` at {line.where}" if verdict.doubt else None
        return _State(outer.applies and verdict.holds, outer.doubt or doubt)

    def _apply(self, line: Line, doubt: str | None) -> None:
        """Take a line that applies to the host."""
        keyword = ALIASES.get(line.keyword, line.keyword)
        if keyword in IGNORED:
            return
        if keyword not in TREATMENTS:
            self._refuse_unknown(line)
            return
        known = self._lines.get(keyword, [])
        if _RIVALS.get(keyword) in self._lines or (known and keyword not in _ADD_UP):
            return
        if doubt:
            problem = f"`{line.text}` depends on {doubt}, which dnnbench cannot evaluate"
            raise ConfigError(problem, where=line.where, remedy=OWN_FILE)
        if is_refused(keyword, line.arguments[0]):
            raise refusal(keyword, line.text, line.where, self._original)
        if line.arguments not in [other.arguments for other in known]:
            self._lines[keyword] = [*known, line]

    def _refuse_unknown(self, line: Line) -> None:
        ignored = self._line("ignoreunknown")
        patterns = ignored.argument.lower().split(",") if ignored else []
        if not matches(patterns, line.keyword):
            remedy = nearest(line.keyword, TREATMENTS) or f"`IgnoreUnknown {line.keyword}` skips it"
            raise ConfigError(f"{line.keyword} is not known", where=line.where, remedy=remedy)

    def _line(self, keyword: str) -> Line | None:
        return next(iter(self._lines.get(keyword, [])), None)

    def _current_host(self) -> str:
        return self._host if self._is_resolved else self._host_name()

    def _host_name(self) -> str:
        line = self._line("hostname")
        if line is None:
            return self._original
        names = self._names(self._original)
        return tokens.with_tokens(line.argument, names, tokens.HOST_ONLY, line)

    def _found_user(self) -> str:
        line = self._line("user")
        if self._user or line is None:
            return self._user or self._local_user
        if "%" in line.argument or "${" in line.argument:
            problem = "releases of OpenSSH differ in what tokens in a user's name mean"
            raise line.bad(problem)
        return line.argument

    def _found_port(self) -> int:
        line = self._line("port")
        if self._port or line is None:
            return self._port or _DEFAULT_PORT
        text = line.argument
        try:
            port = int(text) if text.isdecimal() else socket.getservbyname(text, "tcp")
        except OSError:
            port = 0
        if not 0 < port <= _HIGHEST_PORT:
            raise line.bad("expected a port")
        return port

    def _found_tag(self) -> str:
        line = self._line("tag")
        return line.argument if line else ""

    def _names(self, host: str) -> tokens.Names:
        return tokens.Names(
            host, self._original, self._found_port(), self._found_user(), self._local_user
        )

    def _found(self) -> Found:
        host = self._current_host()
        alias = self._line("hostkeyalias")
        jump = self._line("proxyjump")
        names = self._names(host)._replace(
            alias=alias.argument if alias else "", jump=jump.rest if jump else ""
        )
        return Found(host, names.user, names.port, names, self._lines)


def _included(line: Line, source: Source) -> Iterator[Path]:
    """Yield the files that an Include names, sorted by name."""
    base = Path(_SYSTEM_DIRECTORY if source.is_system else _USER_DIRECTORY).expanduser()
    for pattern in line.arguments:
        # Joining leaves an absolute path as it is.
        full = base / tokens.expanded_home(pattern, line)
        yield from sorted(Path(full.anchor).glob(str(full.relative_to(full.anchor))))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _local_user() -> str:
    """Return the name of the user's account, regardless of environment variables.

    Raises:
        ConfigError: the account has no name, and no variable gives one.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not have a name
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            problem = f"the user {os.getuid()} has no name"
            raise ConfigError(problem, remedy="set LOGNAME, or user in [[hosts]]") from None
