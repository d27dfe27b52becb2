"""What a container's processes may not do."""

from __future__ import annotations

import platform

import pytest

from tests.support.box import Box

DEFAULT_CAPABILITIES = "00000000a80425fb"  # Docker's


def status(box: Box, *options: str) -> dict[str, str]:
    lines = box.out(*options, "busybox", "cat", "/proc/self/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_capabilities_are_dockers(box: Box) -> None:
    found = status(box)
    assert found["CapEff"] == found["CapPrm"] == found["CapBnd"] == DEFAULT_CAPABILITIES
    assert found["CapInh"] == found["CapAmb"] == "0" * 16


def test_another_user_has_them_in_the_bounding_set_only(box: Box) -> None:
    found = status(box, "-u", "app")
    assert found["CapEff"] == found["CapPrm"] == "0" * 16
    assert found["CapBnd"] == DEFAULT_CAPABILITIES


def test_capabilities_are_dropped_and_added(box: Box) -> None:
    assert status(box, "--cap-drop", "ALL")["CapBnd"] == "0" * 16
    assert int(status(box, "--cap-drop", "all", "--cap-add", "net_admin")["CapEff"], 16) == 1 << 12
    assert int(status(box, "--cap-drop", "CHOWN")["CapEff"], 16) == int(DEFAULT_CAPABILITIES, 16) & ~1
    assert int(status(box, "--cap-add", "CAP_SYS_PTRACE")["CapEff"], 16) == int(DEFAULT_CAPABILITIES, 16) | 1 << 19


def test_dropped_capabilities_count(box: Box) -> None:
    assert box.sh("mkdir /d && chmod 0 /d && ls /d && echo readable") == "readable"
    assert box.sh("mkdir /d && chmod 0 /d && ls /d 2>/dev/null || echo refused", "--cap-drop", "ALL") == "refused"


def test_an_unknown_capability_is_refused(box: Box) -> None:
    result = box.run("--cap-add", "NONSENSE", "busybox", "true")
    assert result.code == 125
    assert 'invalid CapAdd: unknown capability: "CAP_NONSENSE"' in result.stderr


def test_privileged_has_all_and_no_filter(box: Box) -> None:
    found = status(box, "--privileged")
    assert int(found["CapEff"], 16) & (1 << 21)
    assert found["Seccomp"] == "0"


def test_a_filter_is_loaded_unless_switched_off(box: Box) -> None:
    assert status(box)["Seccomp"] == "2"
    assert status(box, "--security-opt", "seccomp=unconfined")["Seccomp"] == "0"


def test_no_further_user_namespace_can_be_made(box: Box) -> None:
    assert box.sh("unshare -U true 2>/dev/null || echo refused") == "refused"


def test_mounts_cannot_be_made(box: Box) -> None:
    assert (
        box.sh("mount -t tmpfs none /mnt 2>/dev/null || mount -t tmpfs none /tmp 2>/dev/null || echo refused")
        == "refused"
    )
    assert box.sh("umount /proc/kcore 2>/dev/null || echo refused") == "refused"


@pytest.mark.parametrize(
    ("name", "number"), [("keyctl", 250), ("add_key", 248), ("bpf", 321), ("userfaultfd", 323), ("kexec_load", 246)]
)
def test_dangerous_system_calls_are_refused(box: Box, name: str, number: int) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("only on x86_64 are these the numbers")
    image = box.image("debian")
    script = (
        "import ctypes, errno; libc = ctypes.CDLL(None, use_errno=True); "
        f"r = libc.syscall({number}, 0, 0, 0, 0, 0); print(r, errno.errorcode[ctypes.get_errno()])"
    )
    assert box.out(image, "python3", "-c", script) == "-1 EPERM"


def test_new_privileges_can_be_forbidden(box: Box) -> None:
    assert status(box)["NoNewPrivs"] == "0"
    assert status(box, "--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"
    assert status(box, "-u", "app", "--security-opt", "no-new-privileges:true")["NoNewPrivs"] == "1"


def test_setuid_programs_work_unless_that_is_forbidden(box: Box, needs_many_ids: None) -> None:
    image = box.image("debian")
    script = "cp /usr/bin/id /id; chmod 4755 /id; exec setpriv --reuid 1000 --clear-groups /id -u"
    assert box.out(image, "sh", "-c", script) == "0"
    assert box.out("--security-opt", "no-new-privileges", image, "sh", "-c", script) == "1000"


def test_an_unknown_security_option_is_refused(box: Box) -> None:
    result = box.run("--security-opt", "nonsense=1", "busybox", "true")
    assert result.code == 125
    assert "invalid --security-opt: 'nonsense=1'" in result.stderr


def test_limits_are_set(box: Box) -> None:
    assert box.sh("ulimit -n; ulimit -Hn", "--ulimit", "nofile=64:128").split() == ["64", "128"]
    assert box.sh("ulimit -n; ulimit -Hn", "--ulimit", "nofile=64").split() == ["64", "64"]


def test_a_limit_above_the_callers_own_is_clamped(box: Box) -> None:
    script = "ulimit -n"
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    given = int(box.sh(script, "--ulimit", f"nofile={hard + 1000}:{hard + 1000}"))
    assert given in (hard, hard + 1000)


@pytest.mark.parametrize("limit", ["nonsense=1", "nofile=x", "nofile=9:8", "nofile"])
def test_a_limit_that_is_none_is_refused(box: Box, limit: str) -> None:
    result = box.run("--ulimit", limit, "busybox", "true")
    assert result.code == 125
    assert f'invalid argument "{limit}" for "--ulimit" flag' in result.stderr


def test_the_interpreter_cannot_be_opened_from_inside(box: Box) -> None:
    """With --init process 1 is our interpreter (CVE-2019-5736)."""
    script = """
readlink /proc/1/exe && echo read
(: >> /proc/1/exe) 2>/dev/null && echo opened
cat /proc/1/mem /proc/1/environ 2>/dev/null && echo looked
[ -z "$(ls /proc/1/fd/ /proc/1/root/etc 2>/dev/null | grep -v ^/proc)" ] || echo listed
true"""
    assert box.out("--init", "busybox", "sh", "-c", script) == ""


def test_the_callers_groups_are_left_behind(box: Box, needs_many_ids: None) -> None:
    assert status(box)["Groups"].split() == ["0"]


def test_the_keyring_of_the_caller_is_out_of_reach(box: Box) -> None:
    assert "_ses" not in box.sh("cat /proc/keys 2>/dev/null; true")


def test_devices_cannot_be_made(box: Box) -> None:
    assert box.sh("mknod /sda b 8 0 2>/dev/null || echo refused") == "refused"


def test_the_hosts_processes_cannot_be_signalled(box: Box) -> None:
    assert box.sh("kill -0 -1 2>/dev/null; kill -9 999999 2>/dev/null || echo none", "--init") == "none"


def test_a_privileged_container_may_mount(box: Box) -> None:
    script = "mkdir /m; mount -t tmpfs none /m && touch /m/x && umount /m && echo mounted"
    assert box.sh(script, "--privileged") == "mounted"
    assert box.sh("mount -o remount,rw /proc/sys 2>/dev/null; hostname other && hostname", "--privileged") == "other"


def test_a_capability_that_is_added_is_of_use(box: Box) -> None:
    assert box.sh("hostname other 2>/dev/null || echo refused") == "refused"
    assert box.sh("hostname other && hostname", "--cap-add", "SYS_ADMIN") == "other"
    assert box.sh("ip link set lo down && echo down", "--cap-add", "NET_ADMIN") == "down"
