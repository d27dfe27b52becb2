"""The filter loaded for real into a forked child: what it refuses is refused, and a program still runs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rootless.isolation import capabilities
from rootless.isolation.seccomp import cache
from rootless.isolation.seccomp.numbers import NUMBERS
from rootless.linux import caps, ns, prctl, seccomp
from rootless.linux.libc import syscall

pytestmark = pytest.mark.namespaces

MACHINE = os.uname().machine
if MACHINE not in NUMBERS:
    pytest.skip(f"no table for {MACHINE}", allow_module_level=True)
NUMBER = NUMBERS[MACHINE]


def filtered(program: bytes, body: Callable[[], None]) -> int:
    """Run ``body`` in a forked child under the filter; return how it ended, 0 if it returned."""
    pid = os.fork()
    if pid == 0:
        try:
            prctl.prctl(prctl.PR_SET_NO_NEW_PRIVS, 1)
            seccomp.set_filter(program)
            body()
            os._exit(0)
        except BaseException as e:
            os.write(2, f"{e!r}\n".encode())
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def error_of(*call: int | bytes | None) -> int:
    number, *arguments = call
    assert isinstance(number, int)
    try:
        syscall(number, *arguments)
    except OSError as e:
        return e.errno or -1
    return 0


@pytest.fixture
def default(tmp_path: Path) -> bytes:
    return cache.program(str(tmp_path), capabilities.effective())


def test_refused_calls_are_refused(default: bytes) -> None:
    def body() -> None:
        with pytest.raises(PermissionError):
            ns.unshare(ns.CLONE_NEWUSER)
        assert error_of(NUMBER["keyctl"], 0, 0, 0, 0, 0) == errno.EPERM
        assert error_of(NUMBER["socket"], 40, 1, 0) == errno.EPERM
        assert error_of(NUMBER["socket"], 38 | 1 << 32, 5, 0) == errno.EPERM
        assert error_of(NUMBER["personality"], 0x0040000) == errno.EPERM
        assert error_of(NUMBER["clone"], ns.CLONE_NEWUSER | 17, 0, 0, 0, 0) == errno.EPERM
        assert error_of(NUMBER["clone3"], None, 0) == errno.ENOSYS
        assert error_of(1000, 0, 0, 0) == errno.ENOSYS
        assert error_of(NUMBER["mount"], None, None, None, 0, None) == errno.EPERM

    assert filtered(default, body) == 0


def test_allowed_calls_work(default: bytes) -> None:
    def body() -> None:
        assert os.getpid() == syscall(NUMBER["getpid"])
        assert error_of(NUMBER["personality"], 0xFFFFFFFF) == 0
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        fd = syscall(NUMBER["socket"], 2, 1, 0)
        os.close(fd)

    assert filtered(default, body) == 0


def test_programs_and_threads_run_under_the_filter(default: bytes) -> None:
    """glibc makes threads by clone3 and must fall back to clone."""

    def body() -> None:
        script = "import threading; t = threading.Thread(target=print); t.start(); t.join(); raise SystemExit(5)"
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execv("/usr/bin/env", ["env", "python3", "-c", script])

    assert filtered(default, body) == 5


def test_a_granted_capability_opens_its_calls(tmp_path: Path) -> None:
    program = cache.program(str(tmp_path), capabilities.effective(["SYS_ADMIN"]))

    def body() -> None:
        assert error_of(NUMBER["clone3"], None, 0) == errno.EINVAL
        # Looked at by the kernel, and not refused by the filter before that.
        assert error_of(NUMBER["setns"], -1, 0) == errno.EBADF
        assert error_of(NUMBER["keyctl"], 0, 0, 0, 0, 0) == errno.EPERM

    assert filtered(program, body) == 0


def test_a_container_can_still_become_its_user(default: bytes) -> None:
    """The order of a container without no_new_privs: the filter first, then capabilities and ids."""
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() != 0:
                uid, gid = os.getuid(), os.getgid()
                try:
                    ns.unshare(ns.CLONE_NEWUSER)
                    Path("/proc/self/setgroups").write_text("deny")
                    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
                    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
                except OSError:
                    os._exit(77)
            seccomp.set_filter(default)
            keep = capabilities.effective()
            caps.bounding_drop(keep)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            caps.capset(1, 1, 0)
            os.execv("/bin/sh", ["sh", "-c", "exit 3"])
        except BaseException as e:
            os.write(2, f"{e!r}\n".encode())
        finally:
            os._exit(99)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 77:
        pytest.skip("no user namespaces here")
    assert status == 3


def test_a_broken_program_is_an_error() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            prctl.prctl(prctl.PR_SET_NO_NEW_PRIVS, 1)
            seccomp.set_filter(b"\0" * 8)
        except OSError as e:
            os._exit(e.errno or 1)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.EINVAL
