"""A real sshd on loopback for tests: its own port, keys and configuration, as the user who runs the tests."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oncall.lab.process import end, free_port, identity, spawn, wait_until

HOST = "app-1"
_PRIVATE = Path("/run/sshd")


@dataclass(frozen=True)
class Sshd:
    """A server that runs. `client` is a folder with an `ssh` that knows it as `app-1`; `stranger` one whose key
    the server does not know. Sessions find their programs on the PATH that they were made with."""

    port: int
    client: Path
    stranger: Path


def lacking() -> str | None:
    """Why there can be none here; None where there can."""
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    missing = [name for name in ("ssh", "ssh-keygen") if not shutil.which(name)]
    if found is None or missing:
        return "needs sshd, ssh and ssh-keygen. Debian: apt-get install openssh-server openssh-client"
    return None


@contextmanager
def sshd(folder: Path, path: str) -> Iterator[Sshd]:
    """Starts it under `folder`; `path` is the PATH of its sessions."""
    folder.chmod(0o700)
    for name in ("host", "known", "stranger"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True, timeout=20
        )
    shutil.copy(folder / "known.pub", folder / "authorized")
    port = free_port()
    (folder / "sshd_config").write_text(_server_side(folder, port, path))
    # Debian makes it when the system's sshd starts; as root, ours refuses to run without
    lent = os.geteuid() == 0 and not _PRIVATE.exists()
    if lent:
        _PRIVATE.mkdir(mode=0o755)
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert program is not None
    child = spawn([program, "-D", "-e", "-f", folder / "sshd_config"], folder, folder / "log")
    created = identity(child.pid)
    try:
        made = Sshd(port, _client(folder, "known", port), _client(folder, "stranger", port))

        def answers() -> bool:
            ran = subprocess.run([made.client / "ssh", HOST, "true"], capture_output=True, timeout=20)
            return ran.returncode == 0

        wait_until(answers, "sshd", child=child, log=folder / "log")
        yield made
    finally:
        end(child.pid, created)
        if lent:
            _PRIVATE.rmdir()


def _server_side(folder: Path, port: int, path: str) -> str:
    return "\n".join(
        [
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder}/host",
            f"AuthorizedKeysFile {folder}/authorized",
            f"PidFile {folder}/pid",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "StrictModes no",
            "UsePAM no",
            f"SetEnv PATH={path}",
            "",
        ]
    )


def _client(folder: Path, key: str, port: int) -> Path:
    """A folder with an `ssh` that reads our configuration, and none of the user's."""
    place = folder / f"with-{key}"
    place.mkdir()
    user = pwd.getpwuid(os.geteuid()).pw_name
    (place / "config").write_text(
        f"Host {HOST}\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {folder / key}\n"
        f"  IdentitiesOnly yes\n  StrictHostKeyChecking accept-new\n  UserKnownHostsFile {place}/hosts\n"
    )
    shim = place / "ssh"
    shim.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {place}/config "$@"\n')
    shim.chmod(0o755)
    return place
