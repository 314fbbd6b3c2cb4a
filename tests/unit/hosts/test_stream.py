"""A command's streams over a channel of SSH, without a server."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import paramiko
import pytest

from dnnbench.hosts.connectors import commands
from dnnbench.hosts.connectors.commands import Stream

if TYPE_CHECKING:
    from collections.abc import Callable


class Channel(paramiko.Channel):  # type: ignore[misc]
    """A channel that is read only once somebody waits for what it brings."""

    def __init__(self) -> None:
        super().__init__(0)
        self.transport = SimpleNamespace(server_object=None)
        self.may_be_read = threading.Event()

    def recv_stderr(self, nbytes: int) -> bytes:
        self.may_be_read.wait(10.0)
        received: bytes = super().recv_stderr(nbytes)
        return received

    def say(self, text: bytes) -> None:
        self.in_stderr_buffer.feed(text)

    def tell_exit_status(self, code: int) -> None:
        message = paramiko.Message()
        message.add_string("exit-status")
        message.add_boolean(False)
        message.add_int(code)
        message.rewind()
        self._handle_request(message)

    def end(self) -> None:
        self._handle_eof(None)


def status_first(channel: Channel) -> None:
    channel.tell_exit_status(4)
    threading.Timer(0.05, say_bye, [channel]).start()


def say_bye(channel: Channel) -> None:
    channel.say(b"bye\n")
    channel.end()


def status_last(channel: Channel) -> None:
    say_bye(channel)
    channel.tell_exit_status(4)


def lost(channel: Channel) -> None:
    channel.say(b"bye\n")
    with channel.lock:  # as the transport does
        channel._set_closed()


@pytest.mark.parametrize("ends", [status_first, status_last, say_bye, lost])
def test_the_last_words_of_a_command_are_awaited(ends: Callable[[Channel], None]) -> None:
    channel = Channel()
    stream = Stream(channel, "node1", "a command")
    channel.say(b"hi\n")
    ends(channel)
    threading.Timer(0.05, channel.may_be_read.set).start()
    assert stream.errors == "hi\nbye"


def test_what_a_command_left_running_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_LAST_WORDS_TIMEOUT_S", 0.1)
    channel = Channel()
    channel.may_be_read.set()
    stream = Stream(channel, "node1", "a command &")
    channel.say(b"hi\n")
    channel.tell_exit_status(0)
    assert stream.errors == "hi"
    channel.end()
