"""Steps carried out in namespaces: what they do to the child, and that they do nothing to us."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless.linux import mount, ns, prctl
from rootless.runtime import launch
from rootless.runtime.child import SetupPlan
from rootless.runtime.kernel import Kernel
from rootless.runtime.steps import mounts
from rootless.runtime.steps.command import ChangeDirectory, Exec, Rlimit
from rootless.runtime.steps.namespaces import Hostname, LoopbackUp, OpenSources, Unshare
from rootless.runtime.steps.step import FirstOf, Step
from rootless.typed import NamedTuple

pytestmark = [pytest.mark.namespaces, pytest.mark.usefixtures("namespaces")]
OWN = ns.CLONE_NEWUSER | ns.CLONE_NEWNS | ns.CLONE_NEWUTS | ns.CLONE_NEWNET


class Root(NamedTuple):
    """Take a directory of the host for the new root; for the tests of what is mounted in it."""

    path: str

    def apply(self, kernel: Kernel) -> None:
        mount.mount(self.path, self.path, None, mount.MS_BIND)
        kernel.root = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "root"
    made.mkdir()
    before = Path("/proc/self/mountinfo").read_text()
    yield made
    assert Path("/proc/self/mountinfo").read_text() == before


def carried_out(root: Path, *steps: Step, script: str = "true", sources: tuple[tuple[str, str], ...] = ()) -> str:
    """Carry the steps out over ``root`` and return what a shell then prints there, seen from outside of it.

    Raises:
        StepFailed: a step failed.
    """
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    outer = (Unshare(OWN), OpenSources((("/dev/null", "/dev/null"), *sources)))
    inner = (
        mounts.Propagation(mount.MS_PRIVATE),
        Root(str(root)),
        *steps,
        ChangeDirectory(str(root)),
        Exec(("sh", "-c", script), ("PATH=/bin:/usr/bin:/sbin:/usr/sbin",)),
    )
    prctl.prctl(prctl.PR_SET_CHILD_SUBREAPER, 1)
    try:
        pending = launch.fork(SetupPlan(outer, inner), (null, write, write))
        os.close(write)
        os.close(null)
        outcome = launch.outcome(pending)
        pending.namespaces.close()
        printed = b""
        while piece := os.read(read, 1 << 16):
            printed += piece
        os.close(read)
        if outcome.pid:
            launch.reap(outcome.pid)
        os.close(pending.alive)
    finally:
        prctl.prctl(prctl.PR_SET_CHILD_SUBREAPER, 0)
    if outcome.failure is not None:
        raise outcome.failure
    return printed.decode()


def test_a_tmpfs_is_mounted_in_the_child_only(root: Path) -> None:
    step = mounts.MountFs("tmpfs", "/t", 0, "size=64k")
    assert carried_out(root, step, script="stat -f -c %T t") == "tmpfs\n"
    assert os.listdir(root) == ["t"]  # made as the mount point


def test_a_symlink_upwards_ends_at_the_new_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (root / "t").symlink_to("../../../../.." + str(tmp_path / "victim"))
    with pytest.raises(launch.StepFailed):
        carried_out(root, mounts.MountFs("tmpfs", "/t/new", 0))
    inside = root / str(tmp_path / "victim").lstrip("/")
    inside.mkdir(parents=True)
    assert carried_out(root, mounts.MountFs("tmpfs", "/t/new", 0), script=f"ls .{tmp_path}/victim") == "new\n"
    assert os.listdir(tmp_path / "victim") == []


def test_a_magic_link_is_refused(root: Path) -> None:
    (root / "proc").mkdir()
    (root / "t").symlink_to("/proc/self/root/tmp")
    with pytest.raises(launch.StepFailed):
        carried_out(root, mounts.BindHost("/proc", "/proc"), mounts.MountFs("tmpfs", "/t", 0))


def test_a_target_of_the_wrong_kind_is_refused(root: Path) -> None:
    (root / "file").touch()
    with pytest.raises(launch.StepFailed) as caught:
        carried_out(root, mounts.MountFs("tmpfs", "/file", 0))
    assert caught.value.text == "Not a directory"
    (root / "directory").mkdir()
    with pytest.raises(launch.StepFailed) as caught:
        carried_out(root, mounts.Bind("/dev/null", "/directory"))
    assert caught.value.text == "Is a directory"


def test_binds_show_their_source_and_may_be_read_only(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content")
    steps = (mounts.Bind("s", "/rw"), mounts.Bind("s", "/ro", mount.MOUNT_ATTR_RDONLY))
    script = "cat ro/file; touch rw/new; touch ro/new2 2>/dev/null || echo refused"
    assert carried_out(root, *steps, script=script, sources=(("s", str(source)),)) == "contentrefused\n"
    assert sorted(os.listdir(source)) == ["file", "new"]


def test_a_file_is_bound_on_a_file_that_is_made(root: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("content")
    sources = (("s", str(tmp_path / "source")),)
    assert carried_out(root, mounts.Bind("s", "/a/b/c"), script="cat a/b/c", sources=sources) == "content"
    assert stat.S_ISREG((root / "a/b/c").stat().st_mode)


def test_masks_hide_files_and_directories(root: Path) -> None:
    (root / "file").write_text("secret")
    (root / "directory").mkdir()
    (root / "directory/file").write_text("secret")
    steps = (mounts.Mask("/file"), mounts.Mask("/directory"), mounts.Mask("/missing"), mounts.Mask("/file/below"))
    script = "cat file; ls -A directory; touch directory/x 2>/dev/null || echo refused; ls"
    assert carried_out(root, *steps, script=script).split() == ["refused", "directory", "file"]


def test_a_path_becomes_read_only_in_place(root: Path) -> None:
    (root / "d").mkdir()
    script = "touch d/x 2>/dev/null || echo refused; touch y && echo written"
    steps = (mounts.MakeReadonly("/d"), mounts.MakeReadonly("/missing"))
    assert carried_out(root, *steps, script=script).split() == ["refused", "written"]


def test_links_leave_what_is_there(root: Path) -> None:
    (root / "there").write_text("kept")
    steps = (mounts.Symlink("/proc/self/fd", "/fd"), mounts.Symlink("elsewhere", "/there"))
    assert carried_out(root, *steps, script="readlink fd; cat there").split() == ["/proc/self/fd", "kept"]


def test_the_first_rung_that_holds_is_taken(root: Path) -> None:
    missing = mounts.MountFs("nosuchfs", "/t", 0)
    step = FirstOf((("bad", (missing,)), ("good", (mounts.MountFs("tmpfs", "/t", 0),))))
    assert carried_out(root, step, script="stat -f -c %T t") == "tmpfs\n"
    with pytest.raises(launch.StepFailed):
        carried_out(root, FirstOf((("bad", (missing,)), ("worse", (missing,)))))


def test_pivot_root_leaves_nothing_of_the_old(root: Path, tmp_path: Path) -> None:
    """Only what was put into the new root can be reached; the shell is a static one brought along."""
    import shutil

    from tests.support import tools

    (root / "bin").mkdir()
    shutil.copy(tools.find("busybox"), root / "bin/sh")
    (root / str(tmp_path).lstrip("/")).mkdir(parents=True, exist_ok=True)
    script = f"ls -A {tmp_path} /; cd ..; pwd"

    printed = carried_out(root, mounts.PivotRoot(), mounts.MakeDirectory(str(root)), script=script)
    assert "usr" not in printed.split()


def test_host_name_loopback_and_limits(root: Path) -> None:
    steps = (Hostname("inside"), LoopbackUp(), Rlimit(7, 64, 64))
    script = "cat /proc/sys/kernel/hostname; ulimit -n"
    assert carried_out(root, *steps, script=script).split() == ["inside", "64"]
    assert os.uname().nodename != "inside"
