"""From the step that failed to what a person reads."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from rootless.errors import CommandNotExecutable, CommandNotFound, HostUnsupported, RlError, UsageError
from rootless.runtime import blame
from rootless.runtime.child import INNER, OUTER, SetupPlan
from rootless.runtime.launch import StepFailed
from rootless.runtime.steps import command, mounts, namespaces


class Record:
    """The parts of a container's record that messages use."""

    id = "a" * 64
    short_id = "a" * 12
    image = "image"
    uid_map = "0 0 1\n1 1 65536\n"


def explained(step: Any, number: int, subject: str = "", *, phase: int = INNER, joining: bool = False) -> RlError:
    plan = SetupPlan((step,), ()) if phase == OUTER else SetupPlan((), (step,))
    failed = StepFailed(phase, 0, number, os.strerror(number), subject)
    explain = blame.execution if joining else blame.start
    return explain(plan, failed, Record())  # type: ignore[arg-type]


EXEC = {name: command.Exec((name,), ()) for name in ("x", "/x")}


@pytest.mark.parametrize(
    ("name", "number", "kind", "message"),
    [
        ("x", errno.ENOENT, CommandNotFound, 'exec: "x": executable file not found in $PATH'),
        ("/x", errno.ENOENT, CommandNotFound, 'exec: "/x": stat /x: no such file or directory'),
        ("/x", errno.ENOTDIR, CommandNotFound, 'exec: "/x": stat /x: no such file or directory'),
        ("/x", errno.EACCES, CommandNotExecutable, 'exec: "/x": permission denied'),
        ("/x", errno.EISDIR, CommandNotExecutable, 'exec: "/x": is a directory: permission denied'),
        ("/x", errno.ENOEXEC, CommandNotExecutable, "exec /x: exec format error"),
        ("/x", errno.E2BIG, CommandNotExecutable, 'exec: "/x": argument list too long'),
    ],
)
def test_commands(name: str, number: int, kind: type[RlError], message: str) -> None:
    error = explained(EXEC[name], number, name)
    assert (type(error), error.message) == (kind, message)


def test_a_foreign_architecture_is_explained() -> None:
    hint = explained(EXEC["/x"], errno.ENOEXEC).hint
    assert hint is not None
    assert os.uname().machine in hint


@pytest.mark.parametrize(
    ("step", "number", "kind", "message"),
    [
        (command.ChangeDirectory("/w"), errno.EACCES, CommandNotExecutable, "cannot enter the working directory '/w'"),
        (mounts.Bind("k", "/t"), errno.ENOTDIR, RlError, "mount a directory onto a file"),
        (mounts.Bind("k", "/t"), errno.EROFS, RlError, "the file system there is read-only"),
        (mounts.MountFs("tmpfs", "/t", 0), errno.EPERM, HostUnsupported, "is not permitted here"),
        (namespaces.OpenSources(()), errno.ENOENT, RlError, "bind source path does not exist: /t"),
        (namespaces.OpenSources(()), errno.EACCES, RlError, "cannot open '/t' to mount it"),
        (command.Identity(5, 6, (), 0, True), errno.EINVAL, UsageError, "does not exist in this container"),
        (command.Identity(5, 6, (), 0, True), errno.EPERM, RlError, "cannot become user 5:6"),
        (namespaces.Sysctl("k", "v"), errno.EACCES, RlError, "cannot set the sysctl /t"),
        (command.Session(), errno.EPERM, RlError, "Session failed on /t"),
    ],
)
def test_steps(step: Any, number: int, kind: type[RlError], message: str) -> None:
    error = explained(step, number, "/t")
    assert type(error) is kind
    assert message in error.message


def test_no_user_namespace_is_explained_with_what_lifts_it() -> None:
    error = explained(namespaces.Unshare(0), errno.ENOSPC, phase=OUTER)
    assert isinstance(error, HostUnsupported)
    assert error.hint == "sudo sysctl user.max_user_namespaces=15000"


def test_the_map_is_named_where_a_user_is_not_in_it() -> None:
    error = explained(command.Identity(70000, 70000, (), 0, True), errno.EINVAL, "")
    assert "70000:70000" in error.message
    assert "0, 1-65536" in error.message


def test_joining_what_has_ended() -> None:
    error = explained(namespaces.JoinContainer(()), errno.ESRCH, phase=OUTER, joining=True)
    assert error.message == f"container {Record.id} is not running"


def test_a_step_that_is_not_there_is_our_fault_and_says_so() -> None:
    failed = StepFailed(INNER, 99, 0, "the child ended early with -9", "")
    error = blame.start(SetupPlan((), ()), failed, Record())  # type: ignore[arg-type]
    assert error.message == "the child ended early with -9"
    assert error.hint is not None
