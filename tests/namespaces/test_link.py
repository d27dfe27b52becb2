"""Loopback in a network namespace of its own."""

from __future__ import annotations

import os
import socket

import pytest

from rootless.linux import link, ns

pytestmark = pytest.mark.namespaces


def test_loopback_comes_up_and_carries_traffic() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            try:
                ns.unshare(ns.CLONE_NEWUSER | ns.CLONE_NEWNET)
            except OSError:
                os._exit(77)
            assert not link.flags("lo") & link.IFF_UP
            link.set_up()
            assert link.flags("lo") & link.IFF_UP
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname(), timeout=5).close()
            os._exit(0)
        except BaseException as e:
            os.write(2, f"{e!r}\n".encode())
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 77:
        pytest.skip("no user or network namespaces here")
    assert status == 0


def test_an_interface_that_does_not_exist_is_an_error() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="No such device"):
        link.set_up("nosuch0")
    assert len(os.listdir("/proc/self/fd")) == len(before)
