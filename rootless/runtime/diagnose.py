"""Why this host refuses: from an errno to the reason here and the one command that would lift it."""

from __future__ import annotations

import errno

from rootless.errors import HostUnsupported


def no_user_namespace(number: int) -> HostUnsupported:
    """Explain why unshare(CLONE_NEWUSER) failed with errno ``number`` (user_namespaces(7))."""
    if number == errno.ENOSPC or _read("/proc/sys/user/max_user_namespaces") == "0":
        return HostUnsupported(
            "no user namespace can be made: user.max_user_namespaces is used up or 0",
            hint="sudo sysctl user.max_user_namespaces=15000",
        )
    if number == errno.EINVAL:
        return HostUnsupported("this kernel is built without user namespaces", hint="boot a kernel with CONFIG_USER_NS")
    if _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return HostUnsupported(
            "unprivileged user namespaces are switched off here (kernel.unprivileged_userns_clone=0)",
            hint="sudo sysctl kernel.unprivileged_userns_clone=1",
        )
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return HostUnsupported(
            "AppArmor restricts unprivileged user namespaces on this host",
            hint="sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        )
    if _seccomp_filtered():
        return HostUnsupported(
            "a seccomp filter forbids user namespaces: this is the inside of a container",
            hint="start the outer container with --security-opt seccomp=unconfined",
        )
    return HostUnsupported(
        "user namespaces are forbidden here (a chroot, or a security module)",
        hint="run rl outside of the chroot, or ask the admin which security module refuses unshare(CLONE_NEWUSER)",
    )


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _seccomp_filtered() -> bool:
    return "\nSeccomp:\t2" in _read("/proc/self/status")
