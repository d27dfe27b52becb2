"""The files in /etc that are a container's own: kept in its bundle and bound into it."""

from __future__ import annotations

import os

from rootless.container import users
from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.container.request import RunRequest
    from rootless.container.users import User
    from rootless.engine.ids import Ids


def decide(
    request: RunRequest, ids: Ids, hostname: str, network: str, user: User, accounts: tuple[str, str]
) -> dict[str, str]:
    """Return path inside → text. ``accounts``: the image's passwd and group."""
    files = {
        "/etc/hosts": _read_host("/etc/hosts") if network == "host" else _hosts(hostname, request.add_hosts),
        "/etc/hostname": f"{hostname}\n",
        "/etc/resolv.conf": _read_host("/etc/resolv.conf"),
    }
    if request.userns is not None and request.userns.startswith(("keep-id", "me")):
        passwd, group = accounts
        home = request.workdir or "/"
        added = users.keep_id_lines(
            passwd, group, name=ids.host.user, uid=user.uid, gid=user.gid, home=home, shell="/bin/sh"
        )
        if added.passwd:
            files["/etc/passwd"] = passwd + added.passwd
        if added.group:
            files["/etc/group"] = group + added.group
    return files


def sources(directory: str, files: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return (path inside, path on the host) for the bundle ``directory``."""
    return tuple((inside, f"{directory}/files/{inside.rpartition('/')[2]}") for inside in files)


def write(directory: str, files: dict[str, str]) -> tuple[str, ...]:
    """Write the files into the bundle ``directory``; return their paths."""
    os.mkdir(f"{directory}/files", 0o700)
    made = []
    for inside, path in sources(directory, files):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)  # whatever the umask
            os.write(fd, files[inside].encode(errors="surrogateescape"))
        finally:
            os.close(fd)
        made.append(path)
    return tuple(made)


def _hosts(hostname: str, extra: tuple[str, ...]) -> str:
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", f"127.0.0.1\t{hostname}"]
    for entry in extra:
        name, _, address = entry.replace("=", ":", 1).partition(":")
        if not name or not address:
            raise UsageError(f'invalid argument "{entry}" for "--add-host" flag: bad format for add-host: "{entry}"')
        lines.append(f"{address.strip('[]')}\t{name}")
    return "\n".join(lines) + "\n"


def _read_host(path: str) -> str:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""  # a host without the file has nothing to pass on
