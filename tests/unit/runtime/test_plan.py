"""From a specification to steps: their kinds and, where it matters, their order."""

from __future__ import annotations

from typing import Any

import pytest

from fs.snapshot.driver import Rootfs
from rootless.container.spec import MountSpec, Namespace, Process, RlimitSpec, Spec
from rootless.linux import mount, ns
from rootless.runtime import plan
from rootless.runtime.steps import command, mounts, namespaces

KINDS = ("user", "mount", "pid", "network", "ipc", "uts", "cgroup")


class NoDriver:
    """Stands for a driver; nothing is carried out here."""

    name = "none"


SITUATION = plan.Situation(
    driver=NoDriver(),  # type: ignore[arg-type]
    rootfs=Rootfs("none", (), "", "", "/r"),
    net_fd=-1,
    tty_size=(24, 80),
    seccomp=b"filter",
    setgroups=True,
    inner_root=(0, 0),
)


def made(*, kinds: tuple[str, ...] = KINDS, process: dict[str, Any] | None = None, **more: Any) -> Spec:
    base = Process(("true",), ("A=1",), "/work", capabilities=("CAP_CHOWN",))
    return Spec(
        process=base._replace(**(process or {})),
        hostname="h",
        mounts=(MountSpec("/proc", "proc", "proc"), MountSpec("/dev", "tmpfs", "tmpfs")),
        namespaces=tuple(Namespace(kind) for kind in kinds),
        **more,
    )


def names(steps: tuple[Any, ...]) -> list[str]:
    return [type(step).__name__ for step in steps]


def first(steps: tuple[Any, ...], kind: type) -> int:
    return next(index for index, step in enumerate(steps) if isinstance(step, kind))


def test_a_container_ends_in_exec_and_sources_are_opened_first() -> None:
    made_plan = plan.container(made(), SITUATION)
    outer = names(made_plan.outer)
    assert outer.index("OpenSources") < outer.index("AwaitMaps") < outer.index("BecomeRoot")
    assert names(made_plan.inner)[-1] == "Exec"


def test_the_root_changes_before_anything_of_the_images_counts() -> None:
    inner = plan.container(made(masked_paths=("/proc/kcore",), root_readonly=True), SITUATION).inner
    order = [first(inner, kind) for kind in (mounts.MountRoot, mounts.Mask, mounts.RestrictRoot, mounts.PivotRoot)]
    assert order == sorted(order)
    assert first(inner, mounts.PivotRoot) < first(inner, command.Identity) < first(inner, command.ChangeDirectory)


def test_rights_are_given_up_in_the_order_that_the_kernel_needs() -> None:
    """A filter without no_new_privs needs CAP_SYS_ADMIN; a change of user clears the death signal."""
    inner = plan.container(made(), SITUATION).inner
    order = [first(inner, kind) for kind in (command.Seccomp, command.Identity, command.DieWithMonitor, command.Exec)]
    assert order == sorted(order)


def test_without_an_own_user_namespace_no_map_is_awaited() -> None:
    outer = plan.container(made(kinds=KINDS[1:]), SITUATION).outer
    assert "AwaitMaps" not in names(outer)
    assert "BecomeRoot" not in names(outer)
    assert outer[0] == namespaces.Unshare(ns.CLONE_NEWNS)


def test_a_joined_network_is_entered_first_and_not_made() -> None:
    spaces = (*(Namespace(kind) for kind in KINDS if kind != "network"), Namespace("network", "container:x"))
    made_plan = plan.container(made()._replace(namespaces=spaces), SITUATION._replace(net_fd=7))
    assert made_plan.outer[0] == namespaces.JoinNet(7)
    flags = [step.flags for step in made_plan.outer if isinstance(step, namespaces.Unshare)]
    assert not any(flag & ns.CLONE_NEWNET for flag in flags)
    assert "LoopbackUp" not in names(made_plan.inner)


def test_a_terminal_is_made_before_the_user_changes() -> None:
    inner = plan.container(made(process={"terminal": True}), SITUATION).inner
    assert first(inner, mounts.PivotRoot) < first(inner, command.Terminal) < first(inner, command.Identity)
    assert "Session" not in names(inner)


def test_limits_and_no_new_privileges_are_set() -> None:
    limits = (RlimitSpec("RLIMIT_NOFILE", 1, 2),)
    inner = names(plan.container(made(process={"rlimits": limits, "no_new_privileges": True}), SITUATION).inner)
    assert inner.index("Rlimit") < inner.index("Identity")
    assert inner.index("NoNewPrivileges") < inner.index("Seccomp")
    assert "Seccomp" not in names(plan.container(made(), SITUATION._replace(seccomp=b"")).inner)


def test_init_stays_between_user_and_command() -> None:
    inner = names(plan.container(made(init=True), SITUATION).inner)
    assert inner[-2:] == ["RunInit", "Exec"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (0, 0, "")),
        (("ro", "nosuid"), (mount.MS_RDONLY | mount.MS_NOSUID, mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID, "")),
        (("rbind", "rprivate", "rw"), (0, 0, "")),
        (("size=1m", "mode=755", "noexec"), (mount.MS_NOEXEC, mount.MOUNT_ATTR_NOEXEC, "size=1m,mode=755")),
    ],
)
def test_options_are_split(words: tuple[str, ...], expected: tuple[int, int, str]) -> None:
    assert plan.options(words) == expected


JOINING = plan.Joining(
    namespaces=tuple(range(10, 17)),
    arguments=("id",),
    environment=(),
    cwd="/",
    user=None,
    tty_size=None,
    privileged=False,
)


def test_joining_enters_what_there_is_the_network_first() -> None:
    made_plan = plan.join(made(), JOINING, b"", True)
    (entered,) = made_plan.outer
    assert isinstance(entered, namespaces.JoinContainer)
    kinds = [kind for _, kind in entered.namespaces]
    assert kinds[0] == ns.CLONE_NEWNET
    assert kinds[1] == ns.CLONE_NEWUSER
    assert kinds[-1] == ns.CLONE_NEWNS
    assert plan.joined(made(kinds=("mount", "pid"))) == ("pid", "mnt")


def test_joining_as_somebody_resolves_the_name_inside() -> None:
    inner = plan.join(made(), JOINING._replace(user="app"), b"", True).inner
    assert "NamedIdentity" in names(inner)
    assert "Identity" not in names(inner)


def test_joining_is_confined_as_the_container_is() -> None:
    inner = names(plan.join(made(process={"no_new_privileges": True}), JOINING, b"filter", True).inner)
    assert {"Seccomp", "NoNewPrivileges"} <= set(inner)
    assert inner.index("Identity") < inner.index("DieWithMonitor") < inner.index("Exec")
