"""A second, hostile user of this machine."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Root starts it and it imports first, so that it needs no right to read the interpreter's files.
_BECOME = """\
import json, os, shutil, socket, time
os.setgroups([])
os.setgid({gid})
os.setuid({uid})
os.umask(0)
"""
_READY = "print('ready', flush=True)\n"


class Stranger:
    """An account.

    Attributes:
        name: name of the account.
        uid: its number.
        shown: its name in messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.uid = pwd.getpwnam(name).pw_uid
        self.gid = pwd.getpwnam(name).pw_gid
        self.shown = f"another user, {name} (uid {self.uid})"

    def does(self, script: str) -> None:
        """Run a Python script to its end."""
        subprocess.run([sys.executable, "-c", self._become + script], check=True, timeout=60)

    @contextmanager
    def doing(self, script: str) -> Iterator[None]:
        """Run a Python script, which calls ``ready()`` when it is, until this context ends."""
        text = f"{self._become}def ready():\n    {_READY}{script}"
        command = [sys.executable, "-c", text]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == b"ready\n"
                yield
            finally:
                process.kill()

    @property
    def _become(self) -> str:
        return _BECOME.format(uid=self.uid, gid=self.gid)


@contextmanager
def stranger() -> Iterator[Stranger]:
    """Create an account, and finally remove it; skip the test if that is not possible."""
    if os.getuid() or not shutil.which("useradd"):
        why = "only root, with useradd, makes a second user"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    name = f"dnnb-{secrets.token_hex(4)}"
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    try:
        yield Stranger(name)
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
