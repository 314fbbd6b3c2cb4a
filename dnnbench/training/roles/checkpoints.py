"""Checkpoints of a parameter server's shard, on its own host, in TensorFlow's format.

A thread reads all variables of the shard together, between two updates, which hands over references
and copies nothing under the lock. It then writes them itself, by an operation outside the server's
threads, so that no worker's step waits for the disk. A checkpoint is a directory that appears whole
and on disk; the newest two are kept.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dnnbench.errors import HostError
from dnnbench.training.graph.shard import shard_lock
from dnnbench.training.roles.channel import telling_line
from dnnbench.trial.messages import Checkpointed, CheckpointFailed
from dnnbench.trial.role_environment import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import tensorflow as tf

    from dnnbench.training.roles.channel import Channel

    Values = dict[str, np.ndarray[Any, Any]]

_KEPT: Final = 2
"""With one more than the newest, a damaged file costs time, not the trial."""
_PREFIX: Final = "shard"
"""Of a checkpoint's files: ``shard.index`` and ``shard.data-00000-of-00001``."""


def remove_checkpoints() -> None:
    """Delete the checkpoints of this agent's trial, if it has any."""
    if directory := os.environ.get(CHECKPOINTS):
        shutil.rmtree(directory, ignore_errors=True)


class ShardState:
    """All variables of a shard in its parameter server's graph, to be read or set together."""

    def __init__(self, graph: tf.Graph, index: int) -> None:
        import tensorflow as tf

        tf1 = tf.compat.v1
        self._parameters = f"shard_{index}/parameters"
        handles = [op for op in graph.get_operations() if op.type == "VarHandleOp"]
        self._names = [handle.name for handle in handles]
        kinds = [handle.get_attr("dtype") for handle in handles]
        with graph.as_default(), tf1.device(handles[0].device), tf1.name_scope("checkpoint"):
            self._values = shard_lock(index).execute(
                lambda: [
                    tf.raw_ops.ReadVariableOp(resource=handle.outputs[0], dtype=kind)
                    for handle, kind in zip(handles, kinds, strict=True)
                ]
            )
            self._given = [tf1.placeholder(kind) for kind in kinds]
            self._restore = tf.group(
                *(
                    tf.raw_ops.AssignVariableOp(resource=handle.outputs[0], value=value)
                    for handle, value in zip(handles, self._given, strict=True)
                )
            )

    def read(self, session: tf.compat.v1.Session) -> Values:
        """Return the values, name -> array, with no update between them."""
        return dict(zip(self._names, session.run(self._values), strict=True))

    def set(self, session: tf.compat.v1.Session, values: Values) -> None:
        """Set every variable.

        Raises:
            KeyError: there is no value for one of them.
        """
        given = [values[name] for name in self._names]
        session.run(self._restore, dict(zip(self._given, given, strict=True)))

    def updates(self, values: Values) -> int:
        """Return the count of updates in these values."""
        return round(float(values[self._parameters][-1]))


class Checkpoints:
    """The checkpoints of one parameter server, directories by number."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _newest_first(self) -> Sequence[Path]:
        found = self._directory.glob("*") if self._directory.is_dir() else ()
        return sorted((p for p in found if p.name.isdigit()), key=lambda p: -int(p.name))

    def write(self, values: Values) -> None:
        """Add a checkpoint, and delete all but the newest ones.

        Raises:
            OSError, tf.errors.OpError: it cannot be written; the earlier ones are untouched.
        """
        import tensorflow as tf

        older = self._newest_first()
        number = int(older[0].name) + 1 if older else 1
        aside = self._directory / f"{number}.new"
        shutil.rmtree(aside, ignore_errors=True)
        for path in (self._directory.parent, self._directory, aside):
            path.mkdir(mode=0o700, exist_ok=True)  # not its parents: results may be deleted
        try:
            tf.raw_ops.SaveV2(
                prefix=str(aside / _PREFIX),
                tensor_names=list(values),
                shape_and_slices=[""] * len(values),
                tensors=list(values.values()),
            )
            for path in (*aside.iterdir(), aside):
                _flush(path)
            aside.rename(self._directory / str(number))
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        _flush(self._directory)
        for path in older[_KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)

    def read(self) -> Values:
        """Return the values of the newest checkpoint that can be read.

        Raises:
            HostError: there is none.
        """
        import tensorflow as tf

        for path in self._newest_first():
            try:
                return _read(path)
            except (tf.errors.OpError, ValueError, OSError, RuntimeError):  # noqa: PERF203 - rare
                traceback.print_exc()  # to this role's log
        raise HostError(f"expected a checkpoint in {self._directory}, found none that can be read")


class Checkpointer:
    """Writes checkpoints of a shard in a thread of its own, and restores it from them.

    Args:
        channel: of the parameter server.
        index: of its shard.
        graph: with the shard, before the session is opened.
        every_s: seconds from the end of one checkpoint to the next.
    """

    def __init__(self, channel: Channel, index: int, graph: tf.Graph, every_s: float) -> None:
        self._channel = channel
        self._state = ShardState(graph, index)
        self._checkpoints = Checkpoints(Path(os.environ[CHECKPOINTS]) / f"ps-{index}")
        self._every_s = every_s

    def restore(self, session: tf.compat.v1.Session) -> int:
        """Set the shard to its newest checkpoint; return the updates that it then holds.

        Raises:
            HostError: there is none.
        """
        values = self._checkpoints.read()
        self._state.set(session, values)
        return self._state.updates(values)

    @contextmanager
    def running(self, session: tf.compat.v1.Session) -> Iterator[Callable[[], float]]:
        """Write a checkpoint now, and one after the other until the block ends.

        Yields:
            A function that returns the CPU seconds that writing has taken so far.
        """
        is_over = threading.Event()

        def run() -> None:
            self._save(session)
            while not is_over.wait(self._every_s):
                self._save(session)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert thread.ident
        clock = time.pthread_getcpuclockid(thread.ident)
        try:
            yield lambda: time.clock_gettime(clock)
        finally:
            is_over.set()
            thread.join()

    def _save(self, session: tf.compat.v1.Session) -> None:
        """Write a checkpoint; training goes on if that fails, and the controller is told."""
        start_s = time.monotonic()
        try:
            values = self._state.read(session)
            self._checkpoints.write(values)
        except Exception as error:  # noqa: BLE001 - TensorFlow's errors are of many classes
            traceback.print_exc()
            sys.stderr.flush()
            self._channel.emit(CheckpointFailed, cause=telling_line(error))
            return
        self._channel.emit(
            Checkpointed,
            updates=self._state.updates(values),
            duration_s=time.monotonic() - start_s,
        )


def _read(path: Path) -> Values:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(path / _PREFIX))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _flush(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
