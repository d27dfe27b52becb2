"""``--network``: none, host, and that of another container."""

from __future__ import annotations

import os
import socket

from tests.support.box import Box


def network(box: Box, id_: str) -> str:
    return box.ok("exec", id_, "readlink", "/proc/self/ns/net")


def test_none_has_loopback_and_it_is_up(box: Box) -> None:
    assert box.sh("ip -o link | cut -d: -f2").split() == ["lo"]
    assert box.sh("ping -c 1 -W 2 127.0.0.1 >/dev/null && echo up") == "up"


def test_a_server_and_its_client_in_one_container(box: Box) -> None:
    script = "nc -l -p 8080 -e echo hello & until nc -w 2 127.0.0.1 8080 </dev/null; do :; done"
    assert box.sh(script) == "hello"


def test_the_host_is_not_reachable_by_loopback(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert box.sh(f"nc -w 2 127.0.0.1 {port} </dev/null 2>/dev/null || echo refused") == "refused"


def test_host_shares_the_hosts(box: Box) -> None:
    mine = os.readlink("/proc/self/ns/net")
    image = box.image("busybox")
    assert box.ok("run", "--rm", "--network", "host", image, "readlink", "/proc/self/ns/net") == mine
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        with box.start("run", "--rm", "--network", "host", image, "nc", "127.0.0.1", port) as running:
            server.settimeout(20)
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"reached")
            assert running.communicate(timeout=20)[0] == b"reached"


def test_host_keeps_the_hosts_name_and_resolver(box: Box) -> None:
    image = box.image("busybox")
    printed = box.ok("run", "--rm", "--network", "host", image, "sh", "-c", "hostname; cat /etc/resolv.conf")
    assert printed.split("\n")[0] == os.uname().nodename


def test_a_container_joins_another_ones(box: Box) -> None:
    first = box.detached("--name", "first", "busybox", "sh", "-c", "while :; do nc -l -p 8080 -e echo hello; done")
    image = box.image("busybox")
    script = "until nc -w 2 127.0.0.1 8080 </dev/null; do :; done"
    assert box.ok("run", "--rm", "--network", "container:first", image, "sh", "-c", script) == "hello"
    second = box.ok("run", "-d", "--network", f"container:{first[:12]}", image, "sleep", "1000")
    assert network(box, first) == network(box, second)


def test_a_container_joins_one_whose_process_1_cannot_be_looked_at(box: Box) -> None:
    first = box.asleep("--init")
    image = box.image("busybox")
    second = box.ok("run", "-d", "--network", f"container:{first}", image, "sleep", "1000")
    assert network(box, first) == network(box, second)


def test_a_container_joins_one_that_shares_the_hosts(box: Box) -> None:
    image = box.image("busybox")
    first = box.ok("run", "-d", "--network", "host", image, "sleep", "1000")
    second = box.ok("run", "-d", "--network", f"container:{first}", image, "sleep", "1000")
    assert network(box, second) == os.readlink("/proc/self/ns/net")


def test_joining_a_stopped_container_is_refused(box: Box) -> None:
    id_ = box.detached("--name", "one", "busybox", "true")
    box.ok("wait", id_)
    result = box("run", "--rm", "--network", "container:one", box.image("busybox"), "true")
    assert result.code == 125
    assert f"cannot join network of a non running container: {id_}" in result.stderr


def test_joining_an_unknown_container_is_refused(box: Box) -> None:
    result = box("run", "--rm", "--network", "container:nosuch", box.image("busybox"), "true")
    assert result.code == 125
    assert "No such container: nosuch" in result.stderr
    assert box.left_over() == []


def test_an_unknown_network_is_refused(box: Box) -> None:
    result = box("run", "--rm", "--network", "nosuch", box.image("busybox"), "true")
    assert result.code == 125
    assert "network nosuch not found" in result.stderr
    assert box.left_over() == []


def test_low_ports_can_be_bound(box: Box) -> None:
    script = "nc -l -p 80 -e echo low & until nc -w 2 127.0.0.1 80 </dev/null; do :; done"
    assert box.sh(script) == "low"


def test_the_hostname_is_the_short_id_unless_given(box: Box) -> None:
    id_ = box.asleep()
    assert box.ok("exec", id_, "hostname") == id_[:12]
    assert box.out("--hostname", "given", "busybox", "hostname") == "given"
