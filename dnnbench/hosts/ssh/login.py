"""Log in with a key: a given one, one from the SSH agent, or one in the default place."""

from __future__ import annotations

import base64
import contextlib
import itertools
import shlex
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.agent import AgentSSH
from paramiko.pkey import UnknownKeyType

from dnnbench.errors import HostError
from dnnbench.hosts.ssh.algorithms import CERTIFICATE
from dnnbench.hosts.ssh.settings import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dnnbench.hosts.ssh.settings import Target

_DEFAULT_KEYS: Final = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


class _Offer(NamedTuple):
    """A key to log in with, and the certificate to show in its place, if any."""

    key: paramiko.PKey
    certificate: paramiko.PublicBlob | None = None

    @property
    def kind(self) -> str:
        """The type of the key or certificate that is shown."""
        return str(self.certificate.key_type if self.certificate else self.key.get_name())

    @property
    def shown(self) -> bytes:
        """The key or certificate that is shown."""
        return bytes(self.certificate.key_blob if self.certificate else self.key.asbytes())


class _Unusable(NamedTuple):
    """Keys that cannot be offered, by their paths.

    Attributes:
        locked: encrypted ones.
        strange: ones of an unknown type.
    """

    locked: list[str]
    strange: list[str]


def log_in(transport: paramiko.Transport, target: Target, timeout_s: float) -> None:
    """Authenticate with the first key that the host accepts.

    Raises:
        HostError: it accepts no key, or does not answer in time.
    """
    deadline_s = time.monotonic() + timeout_s
    unusable = _Unusable([], [])
    tried = 0
    with contextlib.ExitStack() as stack:
        agent_keys = _agent_keys(target.agent, timeout_s, stack)
        for offer in _offers(target, agent_keys or (), unusable):
            tried += 1
            transport.auth_timeout = max(deadline_s - time.monotonic(), 0.0)
            offer.key.public_blob = offer.certificate
            try:
                others_wanted = transport.auth_publickey(target.user, offer.key)
            except paramiko.BadAuthenticationType as error:
                raise _no_keys(target, error.allowed_types) from error
            except (paramiko.SSHException, OSError, EOFError) as error:
                if not transport.is_active():
                    raise _cut_off(target, tried) from error
                if time.monotonic() >= deadline_s:
                    problem = f"the login takes longer than {timeout_s:g} s"
                    remedy = "is the host overloaded, or does the SSH agent wait for you?"
                    raise HostError(problem, where=target.name, remedy=remedy) from error
                continue
            if others_wanted:
                raise _no_keys(target, others_wanted)
            return
    raise _refused(target, tried, unusable, has_agent=agent_keys is not None)


def _agent_keys(
    path: str | None, timeout_s: float, stack: contextlib.ExitStack
) -> tuple[paramiko.AgentKey, ...] | None:
    """Return the SSH agent's keys; None if it does not answer."""
    if path is None:
        return ()
    connection = stack.enter_context(socket.socket(socket.AF_UNIX))
    connection.settimeout(timeout_s)
    agent = AgentSSH()
    try:
        connection.connect(path)
        # Paramiko's own way takes its path only from the environment, and has no deadline.
        agent._connect(connection)  # noqa: SLF001
    except (paramiko.SSHException, OSError, TypeError, ValueError, struct.error):
        return None
    keys: tuple[paramiko.AgentKey, ...] = agent.get_keys()
    return keys


def _offers(
    target: Target, agent_keys: tuple[paramiko.AgentKey, ...], unusable: _Unusable
) -> Iterator[_Offer]:
    """Yield each key once: given ones, those of the agent, those in the default places."""
    held = {key.asbytes(): key for key in agent_keys if not key.get_name().endswith(CERTIFICATE)}
    given, usual = target.keys or (), _DEFAULT_KEYS if target.keys is None else ()
    ways = [_from_files(target, given, held, unusable)]
    if not target.identities_only:
        ways.append(_from_agent(target, agent_keys))
    ways.append(_from_files(target, usual, held, unusable))
    offered: set[bytes] = set()
    for offer in itertools.chain.from_iterable(ways):
        is_new = offer.shown not in offered
        if is_new and target.algorithms.admit(offer.kind, offer.key.get_bits()):
            offered.add(offer.shown)
            yield offer


def _from_agent(target: Target, keys: tuple[paramiko.AgentKey, ...]) -> Iterator[_Offer]:
    for key in keys:
        if key.get_name().endswith(CERTIFICATE):
            yield _Offer(key, paramiko.PublicBlob(key.get_name(), key.blob))
        else:
            yield from _with_certificates(key, target.certificates)


def _from_files(
    target: Target,
    paths: tuple[str, ...],
    held: dict[bytes, paramiko.AgentKey],
    unusable: _Unusable,
) -> Iterator[_Offer]:
    for path in map(str, (Path(path).expanduser() for path in paths)):
        certificates = target.certificates or (f"{path}-cert.pub",)
        agent_key = held.get(_public_part(path))
        if agent_key:
            yield from _with_certificates(agent_key, certificates)
            continue
        try:
            yield from _with_certificates(paramiko.PKey.from_path(path), certificates)
        except (TypeError, paramiko.PasswordRequiredException):  # an encrypted key
            unusable.locked.append(path)
        except (UnknownKeyType, UnsupportedAlgorithm):
            unusable.strange.append(path)
        except (OSError, ValueError, paramiko.SSHException):
            continue  # like ssh, go on without a missing or unusable key


def _with_certificates(key: paramiko.PKey, paths: Iterable[str]) -> Iterator[_Offer]:
    """Yield offers of a key's certificates, then of the key itself."""
    for path in paths:
        try:
            blob = paramiko.PublicBlob.from_file(path)
        except (OSError, ValueError, paramiko.SSHException):
            continue  # like ssh, go on without a missing or unusable certificate
        if _certifies(blob.key_blob, key.asbytes()):
            yield _Offer(key, blob)
    yield _Offer(key)


def _certifies(certificate: bytes, key: bytes) -> bool:
    """Return whether a certificate belongs to a public key.

    A certificate begins with its type, a nonce and the fields of the key; see OpenSSH's
    PROTOCOL.certkeys.
    """
    inside, plain = paramiko.Message(certificate), paramiko.Message(key)
    kind = inside.get_text()
    inside.get_string()
    is_of_kind = kind == plain.get_text() + CERTIFICATE
    return bool(is_of_kind and inside.get_remainder().startswith(plain.get_remainder()))


def _public_part(path: str) -> bytes:
    """Read the public key beside a private one; the path may also be that of the public key."""
    public = Path(path if path.endswith(".pub") else f"{path}.pub")
    try:
        return base64.b64decode(public.read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return b""


def _no_keys(target: Target, wanted: list[str]) -> HostError:
    return HostError(
        f"a key is not enough to log in as {target.user}, the host wants {', '.join(wanted)}",
        where=target.name,
        remedy="dnnbench uses no passwords; see AuthenticationMethods and PubkeyAuthentication in "
        "its sshd_config",
    )


def _cut_off(target: Target, tried: int) -> HostError:
    return HostError(
        f"it closed the connection when key {tried} was tried for {target.user}",
        where=target.name,
        remedy="name the right key: key in [[hosts]], or IdentityFile with IdentitiesOnly yes in "
        "~/.ssh/config",
    )


def _refused(target: Target, tried: int, unusable: _Unusable, *, has_agent: bool) -> HostError:
    login = f"{target.user}@{target.address}"
    for path, what in (
        *((path, "is encrypted") for path in unusable.locked),
        *((path, "is of a type that only an SSH agent can use") for path in unusable.strange),
    ):
        answers = "has it" if has_agent else f"answers at {target.agent}"
        problem = f"the key {path} {what}, and no SSH agent {answers}"
        return HostError(problem, where=target.name, remedy=f"ssh-add {shlex.quote(path)}")
    given = target.keys or ()
    missing = [path for path in given if not Path(path).is_file()]
    if missing and not tried:
        problem = f"the key {missing[0]} does not exist"
        remedy = "check key in [[hosts]], or IdentityFile in ~/.ssh/config"
        return HostError(problem, where=target.name, remedy=remedy)
    port = [] if target.port == DEFAULT_PORT else ["-p", str(target.port)]
    key = ["-i", given[0]] if given and not missing else []
    cure = shlex.join(["ssh-copy-id", *key, *port, login])
    if not has_agent:
        problem = f"no SSH agent answers at {target.agent}, and no other key is accepted"
        remedy = "start it, or check SSH_AUTH_SOCK, or IdentityAgent in ~/.ssh/config"
        return HostError(problem, where=target.name, remedy=remedy)
    if not tried:
        problem = f"there is no key with which to log in as {login}"
        return HostError(problem, where=target.name, remedy=f"ssh-keygen, then {cure}")
    keys = "the key that was tried" if tried == 1 else f"all {tried} keys that were tried"
    return HostError(f"{login} refuses {keys}", where=target.name, remedy=f"authorize one: {cure}")
