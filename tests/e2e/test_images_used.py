"""The main job on real distributions: Debian, Alpine and Redis, pulled over TLS with a password."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.box import Box
from tests.support.screen import Screen
from tests.support.users import Me

Show = Callable[..., Screen]


def typed(shown: Screen, prompt: str, line: str) -> str:
    """Type a line at a shell and return what it prints."""
    shown.line(line)
    shown.expect("\n")  # the echo
    return shown.expect(prompt).replace("\r", "")


@pytest.mark.parametrize("image", ["debian", "alpine"])
def test_a_shell_in_which_everything_is_right(box: Box, screen: Show, me: Me, image: str) -> None:
    shown = screen(
        "run", "--rm", "-it", "--network", "none", "--hostname", "inside", "-e", "PS1=@@ ", box.image(image), "sh"
    )
    shown.expect("@@ ")
    assert typed(shown, "@@ ", "id").startswith("uid=0(root) gid=0(root)")
    processes = typed(shown, "@@ ", "ps").splitlines()
    assert processes[0].split()[0] == "PID"
    assert processes[1].split()[0] == "1"
    assert len(processes) == 3
    mounts = typed(shown, "@@ ", "mount")
    for target in ("/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"):
        assert f" on {target} type " in mounts
    assert typed(shown, "@@ ", "hostname") == "inside\n"
    uid_map = [line.split() for line in typed(shown, "@@ ", "cat /proc/self/uid_map").splitlines()]
    assert uid_map[0][0] == "0"
    if me.is_root or me.has_ranges:
        assert typed(shown, "@@ ", "su nobody -s /bin/sh -c id").startswith("uid=65534(nobody)")
    else:
        assert "uid=" not in typed(shown, "@@ ", "su nobody -s /bin/sh -c id")
    shown.line("exit 3")
    assert shown.wait() == 3


def test_apt_and_dpkg_work_inside(box: Box, needs_many_ids: None) -> None:
    script = "dpkg -l | grep -c ^ii; apt-get --version | head -n 1; dpkg --verify base-files"
    assert int(box.out(box.image("debian"), "sh", "-c", script).split()[0]) > 50


def test_python_runs_inside(box: Box) -> None:
    assert box.out(box.image("debian"), "python3", "-c", "import os, ssl; print(os.getpid())") == "1"


def test_whiteouts_and_opaque_directories_are_honoured(box: Box) -> None:
    absent = "test -e /etc/issue.net || echo gone; test -e /usr/share/common-licenses || echo gone too"
    script = f"ls -A /etc/skel; {absent}; cat /etc/motd"
    assert box.out(box.image("debian"), "sh", "-c", script).splitlines() == [
        ".profile", "gone", "gone too", "a file of a lower layer, replaced",
    ]  # fmt: skip


def test_both_compressions_give_the_same_files(box: Box) -> None:
    script = "find / -xdev -type f ! -path '/etc/host*' ! -path /etc/resolv.conf -exec md5sum {} + | sort | md5sum"
    assert box.out(box.image("alpine"), "sh", "-c", script) == box.out(box.image("alpine:zstd"), "sh", "-c", script)


def test_redis_in_one_terminal_and_its_client_in_another(box: Box, screen: Show) -> None:
    server = screen("run", "--rm", "--name", "db", "--network", "none", box.image("redis"))
    server.expect("Ready to accept connections")
    client = screen("exec", "-it", "db", "redis-cli")
    client.expect("127.0.0.1:6379> ")
    client.line("set greeting hello")
    client.expect("OK")
    client.expect("127.0.0.1:6379> ")  # what is typed before it is lost, as the client then resets the terminal
    client.line("get greeting")
    client.expect('"hello"')
    client.expect("127.0.0.1:6379> ")
    client.line("exit")
    assert client.wait() == 0
    assert box.ok("exec", "db", "redis-cli", "get", "greeting") == "hello"
    server.type("\x03")
    server.expect("Redis is now ready to exit")
    assert server.wait() == 0
    assert box.left_over() == []


def test_an_image_with_a_user_of_its_own(box: Box, me: Me) -> None:
    image = box.image("redis:user")
    assert box.out(image, "id", "-un") == "redis"
    id_ = box.detached(image)
    assert box.ok("exec", id_, "id", "-un") == "redis"
    assert box.ok("exec", id_, "pwd") == "/data"
    assert box.inspect(id_)["Config"]["Env"][-1] == "HOME=/var/lib/redis"
    box.ok("stop", id_)
    assert box.inspect(id_)["State"]["ExitCode"] == 0


def test_what_the_image_says_is_used(box: Box) -> None:
    id_ = box.detached(box.image("redis"))
    found = box.inspect(id_)["Config"]
    assert found["WorkingDir"] == "/data"
    assert "REDIS_VERSION=7" in found["Env"]
    assert found["Cmd"][0] == "redis-server"
    assert found["StopSignal"] == "SIGTERM"


def test_a_platform_is_chosen_from_an_index(box: Box) -> None:
    assert box.out(box.image("busybox:multi"), "echo", "ran") == "ran"


def test_docker_schema_2_runs_too(box: Box) -> None:
    assert box.out(box.image("busybox:docker"), "echo", "ran") == "ran"
