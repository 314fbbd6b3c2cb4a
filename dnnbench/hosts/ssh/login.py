"""Log in with a key: one given, one of the SSH agent, or one that lies where keys usually lie."""

from __future__ import annotations

import base64
import contextlib
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.pkey import UnknownKeyType

from dnnbench.errors import HostError
from dnnbench.hosts.ssh.settings import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dnnbench.hosts.ssh.settings import Target

_DEFAULT_KEYS: Final = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


def log_in(transport: paramiko.Transport, target: Target, timeout_s: float) -> None:
    """Authenticate with the first key that the host accepts.

    Raises:
        HostError: it accepts none, or does not answer in time.
    """
    deadline_s = time.monotonic() + timeout_s
    locked: list[str] = []
    tried = 0
    with contextlib.ExitStack() as stack:
        for key in _keys(target, _agent_keys(stack), locked):
            tried += 1
            transport.auth_timeout = max(deadline_s - time.monotonic(), 0.0)
            try:
                others_wanted = transport.auth_publickey(target.user, key)
            except paramiko.BadAuthenticationType as error:
                raise _no_keys(target, error.allowed_types) from error
            except (paramiko.SSHException, OSError, EOFError) as error:
                if not transport.is_active():
                    raise _cut_off(target, tried) from error
                if time.monotonic() >= deadline_s:
                    problem = f"the login takes longer than {timeout_s:g} s"
                    remedy = "is the host overloaded?"
                    raise HostError(problem, where=target.name, remedy=remedy) from error
                continue
            if others_wanted:
                raise _no_keys(target, others_wanted)
            return
    raise _refused(target, tried, locked)


def _agent_keys(stack: contextlib.ExitStack) -> tuple[paramiko.AgentKey, ...]:
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):  # one that does not answer is as good as none
        return ()
    stack.callback(agent.close)
    keys: tuple[paramiko.AgentKey, ...] = agent.get_keys()
    return keys


def _keys(
    target: Target, agent_keys: tuple[paramiko.AgentKey, ...], locked: list[str]
) -> Iterator[paramiko.PKey]:
    """Find keys to try, each once; add the paths of those that nobody can unlock to `locked`."""
    held = {key.asbytes(): key for key in agent_keys}
    offered: set[bytes] = set()
    given, usual = target.keys, () if target.keys else _DEFAULT_KEYS
    ways = [_from_files(given, held, locked)]
    if not target.identities_only:
        ways.append(iter(agent_keys))
    ways.append(_from_files(usual, held, locked))
    for way in ways:
        for key in way:
            if key.asbytes() not in offered:
                offered.add(key.asbytes())
                yield key


def _from_files(
    paths: tuple[str, ...], held: dict[bytes, paramiko.AgentKey], locked: list[str]
) -> Iterator[paramiko.PKey]:
    for path in map(str, (Path(path).expanduser() for path in paths)):
        agent_key = held.get(_public_part(path))
        if agent_key:
            yield agent_key
            continue
        try:
            yield paramiko.PKey.from_path(path)
        except (TypeError, paramiko.PasswordRequiredException):  # how "encrypted" is said
            locked.append(path)
        except (OSError, ValueError, paramiko.SSHException, UnknownKeyType, UnsupportedAlgorithm):
            continue  # ssh, too, goes on without a key that is missing or of no use


def _public_part(path: str) -> bytes:
    """Read the public key beside a private one; it may also be named itself."""
    public = Path(path if path.endswith(".pub") else f"{path}.pub")
    try:
        return base64.b64decode(public.read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return b""


def _no_keys(target: Target, wanted: list[str]) -> HostError:
    return HostError(
        f"a key is not enough to log in as {target.user}, it wants {', '.join(wanted)}",
        where=target.name,
        remedy="dnnbench gives no passwords; see AuthenticationMethods and PubkeyAuthentication in "
        "its sshd_config",
    )


def _cut_off(target: Target, tried: int) -> HostError:
    return HostError(
        f"it closed the connection at key {tried} that was tried for {target.user}",
        where=target.name,
        remedy="name the right key: key in [[hosts]], or IdentityFile with IdentitiesOnly yes in "
        "~/.ssh/config",
    )


def _refused(target: Target, tried: int, locked: list[str]) -> HostError:
    login = f"{target.user}@{target.address}"
    if locked:
        problem = f"the key {locked[0]} is encrypted, and no SSH agent has it"
        return HostError(problem, where=target.name, remedy=f"ssh-add {shlex.quote(locked[0])}")
    missing = [path for path in target.keys if not Path(path).is_file()]
    if missing and not tried:
        problem = f"there is no key {missing[0]}"
        remedy = "check key in [[hosts]], or IdentityFile in ~/.ssh/config"
        return HostError(problem, where=target.name, remedy=remedy)
    port = [] if target.port == DEFAULT_PORT else ["-p", str(target.port)]
    key = ["-i", target.keys[0]] if target.keys and not missing else []
    cure = shlex.join(["ssh-copy-id", *key, *port, login])
    if not tried:
        problem = f"there is no key to log in as {login} with"
        return HostError(problem, where=target.name, remedy=f"ssh-keygen, then {cure}")
    keys = "the key that was tried" if tried == 1 else f"all {tried} keys that were tried"
    return HostError(f"{login} refuses {keys}", where=target.name, remedy=f"let one in: {cure}")
