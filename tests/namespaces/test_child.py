"""What happens between fork and exec, with real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rootless.linux import ns, prctl
from rootless.runtime import launch
from rootless.runtime.child import INNER, OUTER, SetupPlan
from rootless.runtime.kernel import Kernel
from rootless.runtime.launch import Outcome
from rootless.runtime.steps.command import Exec, Session
from rootless.runtime.steps.namespaces import AwaitMaps, Unshare
from rootless.typed import NamedTuple

pytestmark = [pytest.mark.namespaces, pytest.mark.usefixtures("namespaces")]
ENVIRONMENT = ("PATH=/bin:/usr/bin",)


class Fail(NamedTuple):
    """Raise ``number`` about ``subject``."""

    number: int
    subject: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.subject)
        raise OSError(self.number, os.strerror(self.number))


class Break(NamedTuple):
    """Fail as no step should."""

    def apply(self, kernel: Kernel) -> None:
        raise ZeroDivisionError("oops")


class Note(NamedTuple):
    """Send a remark."""

    text: str

    def apply(self, kernel: Kernel) -> None:
        kernel.note(self.text)


class Run:
    """A child under way with a pipe for its output."""

    def __init__(self, plan: SetupPlan, *, keep: tuple[int, ...] = ()) -> None:
        null = os.open("/dev/null", os.O_RDWR)
        self.read, write = os.pipe()
        prctl.prctl(prctl.PR_SET_CHILD_SUBREAPER, 1)
        self.pending = launch.fork(plan, (null, write, write), keep=keep)
        os.close(write)
        os.close(null)

    def finish(self) -> tuple[Outcome, int, bytes]:
        """Return the outcome, the exit code of the command, and what it printed."""
        outcome = launch.outcome(self.pending)
        self.pending.namespaces.close()
        printed = b""
        while piece := os.read(self.read, 1 << 16):
            printed += piece
        os.close(self.read)
        code = launch.reap(outcome.pid) if outcome.pid else -1
        os.close(self.pending.alive)
        return outcome, code, printed


@pytest.fixture(autouse=True)
def _one_reaper() -> Iterator[None]:
    yield
    prctl.prctl(prctl.PR_SET_CHILD_SUBREAPER, 0)


def sh(script: str) -> Exec:
    return Exec(("sh", "-c", script), ENVIRONMENT)


def test_a_plan_ends_as_its_command() -> None:
    outcome, code, printed = Run(SetupPlan((), (Session(), sh("echo $0 $PATH; exit 3")))).finish()
    assert outcome.failure is None
    assert (code, printed) == (3, b"sh /bin:/usr/bin\n")


def test_the_command_is_process_1_of_a_new_pid_namespace() -> None:
    plan = SetupPlan((Unshare(ns.CLONE_NEWUSER | ns.CLONE_NEWPID),), (sh("echo $$"),))
    assert Run(plan).finish()[2] == b"1\n"


@pytest.mark.parametrize("phase", [OUTER, INNER])
def test_a_step_that_fails_is_named_with_errno_and_subject(phase: int) -> None:
    steps = (Note("a"), Fail(30, "/some/path"), sh("echo never"))
    outcome, _, printed = Run(SetupPlan(steps, ()) if phase == OUTER else SetupPlan((), steps)).finish()
    failure = outcome.failure
    assert failure is not None
    assert (failure.phase, failure.index, failure.errno, failure.subject) == (phase, 1, 30, "/some/path")
    assert outcome.notes == ("a",)
    assert printed == b""


def test_a_step_that_breaks_does_not_unwind_into_the_parent() -> None:
    outcome, code, printed = Run(SetupPlan((), (Break(), sh("echo never")))).finish()
    assert outcome.failure is not None
    assert outcome.failure.text == "ZeroDivisionError: oops"
    assert (code, printed) == (125, b"")


def test_a_command_that_is_missing_is_a_failure_of_exec() -> None:
    plan = SetupPlan((), (Note("before"), Exec(("nosuch",), ENVIRONMENT)))
    failure = Run(plan).finish()[0].failure
    assert failure is not None
    assert (failure.phase, failure.index, failure.errno, failure.subject) == (INNER, 1, 2, "nosuch")


def test_a_plan_without_exec_is_a_failure() -> None:
    assert Run(SetupPlan((), (Note("only"),))).finish()[0].failure is not None


def test_no_descriptor_is_inherited() -> None:
    leaked = [os.open("/", os.O_RDONLY) for _ in range(3)]
    for fd in leaked:
        os.set_inheritable(fd, True)
    try:
        printed = Run(SetupPlan((), (sh("ls /proc/self/fd"),))).finish()[2]
    finally:
        for fd in leaked:
            os.close(fd)
    assert printed.split() == [b"0", b"1", b"2", b"3"]


def test_maps_are_written_while_the_child_waits() -> None:
    from idmap.ranges import IdMap, IdRange, UserMap

    maps = UserMap(IdMap((IdRange(7, os.getuid(), 1),)), IdMap((IdRange(0, 0, 1),)))
    if os.getuid() != 0:
        pytest.skip("needs root")  # writing gid_map without setgroups denied takes privilege
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    plan = SetupPlan((Unshare(ns.CLONE_NEWUSER), AwaitMaps()), (sh("cat /proc/self/uid_map"),))
    prctl.prctl(prctl.PR_SET_CHILD_SUBREAPER, 1)
    pending = launch.fork(plan, (null, write, write), maps=maps)
    os.close(write)
    os.close(null)
    outcome = launch.outcome(pending)
    pending.namespaces.close()
    assert outcome.failure is None
    assert os.read(read, 100).split() == [b"7", b"0", b"1"]
    os.close(read)
    launch.reap(outcome.pid)
    os.close(pending.alive)


def test_signals_are_as_the_system_has_them() -> None:
    printed = Run(SetupPlan((), (sh("grep -E '^Sig(Ign|Blk)' /proc/self/status"),))).finish()[2]
    assert [line.split()[1] for line in printed.splitlines()] == [b"0" * 16] * 2
