"""Every seed of a sweep, derived from the one that the user gave.

SHA-256 and not ``hash`` or a generator's stream, so that a seed is the same on every host, under
every Python version, and whatever else was drawn before it.
"""

from __future__ import annotations


def derive(seed: int, *path: object) -> int:
    """Return a seed of its own for ``path`` under ``seed``.

    Returns:
        0 to 2**31 - 1, which TensorFlow, Keras, NumPy and ``random`` all take.
    """
    import hashlib  # loads OpenSSL, which who only reads a plan need not wait for

    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def repeat_seed(seed: int, repeat: int) -> int:
    """Return the seed of all trials of one repeat.

    All protocols and node counts share it, so that they start from the same parameters and see
    the same order of examples.
    """
    return derive(seed, "repeat", repeat)


def order_seed(seed: int, repeat: int) -> int:
    """Return the seed that shuffles the trials of one repeat."""
    return derive(seed, "order", repeat)


def task_seed(trial_seed: int, task: str) -> int:
    """Return the seed of one task, such as ``worker:1``, of a trial with this seed."""
    return derive(trial_seed, "task", task)
