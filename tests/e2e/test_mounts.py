"""What is mounted where, who may write to it, and that nothing happens outside of the container's root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import give_away
from tests.support.box import Box


@pytest.fixture
def shared(tmp_path: Path, container_root: tuple[int, int]) -> Path:
    """A directory of the host that the container's root may write to."""
    made = tmp_path / "shared"
    made.mkdir()
    (made / "file").write_text("from the host\n")
    give_away(made, container_root)
    return made


# ---- binds


def test_a_bind_is_seen_and_written_on_both_sides(box: Box, shared: Path) -> None:
    assert box.sh("cat /there/file; echo back > /there/new", "-v", f"{shared}:/there") == "from the host"
    assert (shared / "new").read_text() == "back\n"


def test_a_file_can_be_bound(box: Box, shared: Path) -> None:
    assert box.sh("cat /etc/motd; echo more >> /etc/motd", "-v", f"{shared}/file:/etc/motd") == "from the host"
    assert (shared / "file").read_text() == "from the host\nmore\n"


def test_a_read_only_bind_is_read_only(box: Box, shared: Path) -> None:
    assert box.sh("touch /there/x || echo refused; cat /there/file", "-v", f"{shared}:/there:ro").split("\n") == [
        "refused",
        "from the host",
    ]


def test_read_only_is_recursive(box: Box) -> None:
    """Host mounts below the source, as /dev/shm below /dev, must not stay writable."""
    each = "[ -d $d ] && touch $d/x 2>/dev/null && echo writable $d"
    script = f"for d in /there /there/shm /there/mqueue; do {each}; done; true"
    assert box.sh(script, "-v", "/dev:/there:ro") == ""
    mounts = [line.split() for line in box.sh("cat /proc/self/mountinfo", "-v", "/dev:/there:ro").splitlines()]
    below = [fields for fields in mounts if fields[4].startswith("/there")]
    assert below
    assert all("ro" in fields[5].split(",") for fields in below)


def test_mount_words_do_the_same(box: Box, shared: Path) -> None:
    words = f"type=bind,source={shared},target=/there,readonly"
    assert box.sh("touch /there/x || echo refused", "--mount", words) == "refused"
    assert (
        box.sh("mount | grep -c ' /t type tmpfs.*size=1024k'", "--mount", "type=tmpfs,destination=/t,tmpfs-size=1m")
        == "1"
    )


def test_a_missing_source_is_made_for_v_and_refused_for_mount(box: Box, tmp_path: Path) -> None:
    box.sh("true", "-v", f"{tmp_path}/made/here:/there")
    assert (tmp_path / "made/here").is_dir()
    result = box.run("--mount", f"type=bind,source={tmp_path}/missing,target=/there", "busybox", "true")
    assert result.code == 125
    assert f"bind source path does not exist: {tmp_path}/missing" in result.stderr
    assert not (tmp_path / "missing").exists()


def test_a_missing_target_is_made(box: Box, shared: Path) -> None:
    assert box.sh("cat /a/b/c/file /x/y", "-v", f"{shared}:/a/b/c", "-v", f"{shared}/file:/x/y").split("\n") == [
        "from the host",
        "from the host",
    ]


def test_a_directory_on_a_file_is_refused(box: Box, shared: Path) -> None:
    result = box.run("-v", f"{shared}:/etc/passwd", "busybox", "true")
    assert result.code == 125
    assert "are you trying to mount a directory onto a file (or vice-versa)?" in result.stderr
    result = box.run("-v", f"{shared}/file:/tmp", "busybox", "true")
    assert result.code == 125
    assert "are you trying to mount a directory onto a file (or vice-versa)?" in result.stderr
    assert box.left_over() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-v", "/tmp:relative"), "mount path must be absolute"),
        (("-v", "/tmp:/"), "destination can't be '/'"),
        (("-v", "/tmp:/a", "-v", "/var:/a"), "Duplicate mount point: /a"),
        (("-v", "/tmp:/a:nonsense"), "nonsense"),
        (("--mount", "type=nonsense,target=/a"), "nonsense"),
        (("--mount", "type=bind,source=/tmp"), "target"),
    ],
    ids=["relative", "root", "twice", "option", "type", "no target"],
)
def test_a_mount_that_makes_no_sense_is_refused(box: Box, options: tuple[str, ...], message: str) -> None:
    result = box.run(*options, "busybox", "true")
    assert result.code == 125
    assert message in result.stderr
    assert box.left_over() == []


def test_a_parent_is_mounted_before_what_lies_below(box: Box, shared: Path, container_root: tuple[int, int]) -> None:
    (shared / "inner").mkdir()
    give_away(shared, container_root)
    printed = box.sh("ls /a /a/inner", "-v", f"{shared}/file:/a/inner/f", "-v", f"{shared}:/a")
    assert "f" in printed.split()


def test_the_sources_directory_need_not_be_the_containers_to_enter(
    box: Box, tmp_path: Path, container_root: tuple[int, int]
) -> None:
    """What is bound is opened as the caller, before the container's ids count."""
    private = tmp_path / "private"
    (private / "inner").mkdir(parents=True)
    (private / "inner/file").write_text("reached\n")
    give_away(private / "inner", container_root)
    private.chmod(0o700)
    assert box.sh("cat /there/file", "-v", f"{private}/inner:/there") == "reached"


def test_a_symlink_as_source_is_followed_on_the_host(box: Box, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(shared)
    assert box.sh("cat /there/file", "-v", f"{tmp_path}/link:/there") == "from the host"


# ---- the root and tmpfs


def test_a_read_only_root_leaves_what_is_mounted_writable(box: Box, shared: Path) -> None:
    script = "touch /x 2>/dev/null || echo refused; touch /tmp/x /dev/shm/x /there/x && echo written"
    assert box.sh(script, "--read-only", "--tmpfs", "/tmp", "-v", f"{shared}:/there").split() == ["refused", "written"]


def test_a_read_only_root_and_a_missing_working_directory(box: Box) -> None:
    assert box.sh("pwd", "--read-only", "-w", "/made") == "/made"


def test_tmpfs_has_dockers_defaults_and_takes_options(box: Box) -> None:
    line = box.sh("grep ' /t ' /proc/mounts", "--tmpfs", "/t")
    assert {"nosuid", "nodev", "noexec"} <= set(line.split()[3].split(","))
    line = box.sh("grep ' /t ' /proc/mounts; stat -c %a /t", "--tmpfs", "/t:size=64k,mode=1770,exec")
    assert "size=64k" in line
    assert "noexec" not in line
    assert line.endswith("1770")
    assert box.sh("stat -c %a /t", "--tmpfs", "/t") == "1777"


def test_changes_stay_in_the_container(box: Box) -> None:
    box.sh("rm -r /home /etc/passwd; echo changed > /bin/sh.new; mv /bin/sh.new /bin/new")
    assert box.sh("cat /etc/passwd | head -n 1; ls -d /home; ls /bin/new 2>/dev/null; true").split()[-1] == "/home"


# ---- the file systems of every container


def test_every_device_is_there_and_works(box: Box) -> None:
    script = """
set -e
for d in null zero full random urandom tty; do test -c /dev/$d; stat -c '%n %a' /dev/$d; done
echo x > /dev/null; head -c 4 /dev/zero | od -An -tx1; head -c 2 /dev/urandom | wc -c
(echo x > /dev/full) 2>/dev/null || echo full
ls -l /dev/fd /dev/stdin /dev/stdout /dev/stderr /dev/ptmx | sed 's/.* \\/dev/\\/dev/'
touch /dev/shm/x; test -d /dev/mqueue; test -c /dev/pts/ptmx
"""
    printed = box.sh(script)
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        assert f"/dev/{name} 666" in printed
    assert "00 00 00 00" in printed
    assert "full" in printed.splitlines()
    assert "/dev/fd -> /proc/self/fd" in printed
    assert "/dev/ptmx -> pts/ptmx" in printed


def test_an_ordinary_user_may_use_the_devices(box: Box) -> None:
    box.sh("echo x > /dev/null; head -c 1 /dev/urandom > /dev/shm/x; touch /tmp/x", "-u", "app")


def test_dev_has_nothing_of_the_hosts(box: Box) -> None:
    allowed = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero console".split()
    assert set(box.sh("ls /dev").split()) <= set(allowed)


def test_proc_shows_the_containers_processes_only(box: Box) -> None:
    assert box.sh("ls /proc | grep -c '^[0-9]'").strip() in ("2", "3", "4")
    assert box.sh("cat /proc/1/comm; true") == "sh"


def test_sysctls_of_the_host_are_read_only(box: Box) -> None:
    assert box.sh("echo 1 > /proc/sys/kernel/sysrq || echo refused") == "refused"
    assert box.sh("echo h > /proc/sysrq-trigger || echo refused") == "refused"
    assert box.sh("mkdir /sys/fs/x 2>/dev/null || echo refused") == "refused"


@pytest.mark.parametrize(
    "path",
    ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/acpi", "/proc/scsi", "/sys/firmware"],
)
def test_masked_paths_are_empty(box: Box, path: str) -> None:
    script = f"[ -e {path} ] || exit 0; if [ -d {path} ]; then ls -A {path}; else head -c 1 {path}; fi"
    assert box.sh(script) == ""


def test_a_privileged_container_has_no_masks(box: Box) -> None:
    assert box.sh("grep -c ' /proc/[a-z]' /proc/mounts || true", "--privileged") == "0"


def test_hosts_hostname_and_resolv_conf_are_the_containers_own(box: Box) -> None:
    printed = box.sh(
        "cat /etc/hosts /etc/hostname; echo x >> /etc/hosts; tail -n 1 /etc/hosts",
        "--hostname",
        "name",
        "--add-host",
        "other:10.1.2.3",
    )
    assert "127.0.0.1\tlocalhost" in printed
    assert "\tname\n" in printed
    assert "10.1.2.3\tother" in printed
    assert printed.endswith("x")
    assert "x" not in Path("/etc/hosts").read_text().split("\n")
    assert box.sh("test -f /etc/resolv.conf && echo there") == "there"


def test_mount_shows_overlay_or_the_copy_at_the_root(box: Box) -> None:
    assert " on / type " in box.sh("mount")


def test_both_drivers_give_the_same_view(box: Box) -> None:
    files = "find / -xdev -path /etc -prune -o -type f -print | xargs md5sum | sort | md5sum"
    script = f"{files}; stat -c %u:%g:%a /home/app /tmp"
    assert box.sh(script, "--storage-driver", "overlay") == box.sh(script, "--storage-driver", "plain")


# ---- an image that tries to make us touch the host

#: Where a container's mounts go, and a symlink in its place would lead if it were followed on the host.
TARGETS = (
    "proc",
    "dev",
    "sys",
    "etc",
    "tmp/bound",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "dev/shm",
    "dev/null",
    "dev/pts",
)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("to", ["directory", "file", "missing", "upwards", "loop"])
def test_a_symlink_in_the_place_of_a_mount_leads_nowhere_on_the_host(
    box: Box, rootfs: Path, container_root: tuple[int, int], tmp_path: Path, shared: Path, name: str, to: str
) -> None:
    victim = tmp_path / "victim"
    (victim / "directory").mkdir(parents=True)
    (victim / "file").write_text("untouched")
    victim.chmod(0o777)
    place = rootfs / name
    if place.is_dir():
        place.rename(rootfs / "moved")
    place.parent.mkdir(exist_ok=True)
    target = {"upwards": f"../../../../../../../..{victim}/missing", "loop": str(place)}.get(to, f"{victim}/{to}")
    place.symlink_to(target)
    give_away(rootfs, container_root)
    result = box.run("-v", f"{shared}:/tmp/bound", "--rootfs", str(rootfs), "sh", "-c", "echo ran")
    # It may start with the mount at the symlink's target inside of the container, or be refused; the host is untouched.
    assert result.code in (0, 125, 126, 127), result
    assert "Traceback" not in result.stderr
    assert "bug in rl" not in result.stderr
    assert sorted(str(path.relative_to(victim)) for path in victim.rglob("*")) == ["directory", "file"]
    assert (victim / "file").read_text() == "untouched"
    assert str(victim) not in Path("/proc/self/mountinfo").read_text()


def test_a_mask_cannot_be_dodged_by_a_symlink(box: Box, rootfs: Path, container_root: tuple[int, int]) -> None:
    """With /proc as a symlink the proc file system and its masks land at one and the same place."""
    (rootfs / "proc").rmdir()
    (rootfs / "real").mkdir()
    (rootfs / "proc").symlink_to("real")
    give_away(rootfs, container_root)
    result = box.run(
        "--rootfs",
        str(rootfs),
        "sh",
        "-c",
        "cat /real/timer_list /real/keys /real/sysrq-trigger; echo h > /real/sysrq-trigger || echo refused",
    )
    assert result.stdout.strip() in ("", "refused")


def test_mount_points_that_are_missing_are_made(box: Box, rootfs: Path) -> None:
    for name in ("proc", "dev", "sys"):
        (rootfs / name).rmdir()
    assert (
        box.out(
            "--rootfs",
            str(rootfs),
            "sh",
            "-c",
            "test -e /proc/self && test -c /dev/null && test -d /sys/kernel && echo all",
        )
        == "all"
    )


def test_links_of_dev_that_an_image_brings_do_not_matter(box: Box, rootfs: Path) -> None:
    (rootfs / "dev/fd").symlink_to("/etc/passwd")
    assert box.out("--rootfs", str(rootfs), "sh", "-c", "cat /dev/fd/0 < /marker") == "the marker"


def test_mounts_do_not_reach_the_host(box: Box, shared: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    box.sh("true", "-v", f"{shared}:/there", "--tmpfs", "/t")
    assert Path("/proc/self/mountinfo").read_text() == before
    assert os.listdir(shared) == ["file"]
