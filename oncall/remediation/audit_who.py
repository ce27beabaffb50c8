"""Who typed it, and from where: what the kernel knows, before what the environment says."""

import os
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path

from oncall.model_acts import Who

LOGINUID = Path("/proc/self/loginuid")
_NOBODY = 2**32 - 1
_LONGEST = 64


def who(env: Mapping[str, str] = os.environ, loginuid: Path = LOGINUID) -> Who:
    """The user of this process, who logged in (sudo keeps that), the machine, the ssh client, the terminal."""
    uid = os.geteuid()
    return Who(
        user=_name(uid),
        uid=uid,
        host=socket.gethostname(),
        login=_login(loginuid) or env.get("SUDO_USER", "")[:_LONGEST] or None,
        ssh_from=env.get("SSH_CONNECTION", "").partition(" ")[0][:_LONGEST] or None,
        terminal=_terminal(),
    )


def _login(loginuid: Path) -> str | None:
    """Who logged in, as the kernel has noted it: unlike SUDO_USER nobody can set that anew."""
    try:
        uid = int(loginuid.read_text())
    except (OSError, ValueError):
        return None
    return None if uid == _NOBODY else _name(uid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _terminal() -> str | None:
    for stream in (0, 1, 2):
        try:
            return os.ttyname(stream)
        except OSError:
            continue
    return None
