"""Which system calls a container may make: an allow-list in the spirit of Docker's default profile.

Allowed is what programs need and what the kernel itself keeps within namespaces and capabilities.
Refused is what is not namespaced (keyrings, clocks, modules, kexec), what opens large parts of the
kernel to attack (bpf, io_uring, userfaultfd, new user namespaces), and what is obsolete. What a granted
capability is for is allowed with it.
"""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

from rootless.isolation.seccomp.numbers import AUDIT_ARCH, NUMBERS
from rootless.linux.caps import NUMBERS as CAPABILITIES

ALLOW: Final = 0x7FFF0000  # SECCOMP_RET_ALLOW, linux/seccomp.h
_ERRNO: Final = 0x00050000  # SECCOMP_RET_ERRNO
EPERM: Final = _ERRNO | errno.EPERM
#: For what this table does not know: programs then do what they did on older kernels.
ENOSYS: Final = _ERRNO | errno.ENOSYS


class ArgumentRule(NamedTuple):
    """Allow a call if its ``argument`` and ``mask`` is in ``values`` (or is not), else EPERM.

    The low 32 bits are looked at, which is all that the kernel takes of these arguments: high bits
    must not hide a value from the rule.
    """

    argument: int
    mask: int
    values: tuple[int, ...]
    listed: bool

    def decide(self, arguments: tuple[int, ...]) -> int:
        return ALLOW if (arguments[self.argument] & self.mask in self.values) == self.listed else EPERM


class Span(NamedTuple):
    """The numbers from ``first`` to the next span's are answered with ``action``."""

    first: int
    action: int | ArgumentRule


class Policy(NamedTuple):
    """Every number of one architecture; ``spans`` are sorted and the first begins with 0.

    Calls by another architecture's numbers (int 0x80 on x86_64) are answered as by a kernel that was
    built without it: ENOSYS. So are those of x32, whose numbers are above all others.
    """

    audit_arch: int
    spans: tuple[Span, ...]

    def decide(self, number: int, arguments: tuple[int, ...] = (0,) * 6) -> int:
        """Return what the filter must return for a call."""
        action = [span.action for span in self.spans if span.first <= number][-1]
        return action.decide(arguments) if isinstance(action, ArgumentRule) else action


_ALLOWED: Final = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range
open openat openat2 creat dup dup2 dup3 fcntl flock ioctl pipe pipe2 splice tee vmsplice sendfile copy_file_range
fsync fdatasync sync syncfs sync_file_range fallocate fadvise64 readahead truncate ftruncate cachestat
io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
memfd_create memfd_secret

stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 statmount listmount
getdents getdents64 getcwd chdir fchdir readlink readlinkat name_to_handle_at
mkdir mkdirat rmdir mknod mknodat link linkat symlink symlinkat unlink unlinkat rename renameat renameat2
chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat umask utime utimes futimesat utimensat
getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat
setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
file_getattr file_setattr
inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark

select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old
epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime

bind connect listen accept accept4 shutdown socketpair getsockname getpeername getsockopt setsockopt
sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg

brk mmap munmap mremap mprotect pkey_mprotect pkey_alloc pkey_free madvise mincore msync mseal
mlock mlock2 mlockall munlock munlockall remap_file_pages membarrier map_shadow_stack
shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr

fork vfork execve execveat exit exit_group wait4 waitid set_tid_address set_robust_list get_robust_list
futex futex_waitv futex_wait futex_wake futex_requeue rseq restart_syscall set_thread_area get_thread_area
arch_prctl modify_ldt prctl ptrace process_vm_readv process_vm_writev process_mrelease uretprobe
kill tkill tgkill pidfd_open pidfd_send_signal pause alarm sigaltstack
rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn
getpid getppid gettid getpgid getpgrp setpgid getsid setsid getcpu
getpriority setpriority ioprio_get ioprio_set getrlimit setrlimit prlimit64 getrusage times
sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler
sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval

getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid
setresuid setresgid setfsuid setfsgid setgroups capget capset
seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self

time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep adjtimex clock_adjtime
getitimer setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete
uname sysinfo getrandom
"""

#: Allowed only with the capability that they are for, or with one of them.
_BY_CAPABILITY: Final = {
    "BPF": "bpf",
    "DAC_READ_SEARCH": "open_by_handle_at",
    "PERFMON": "perf_event_open",
    "SYSLOG": "syslog",
    "SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
        open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname
        setns syslog umount2 unshare
    """,
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime settimeofday",
    "SYS_TTY_CONFIG": "vhangup",
}

#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (linux/sched.h).
_NEW_NAMESPACES: Final = 0x7E020000
_ALL_BITS: Final = 0xFFFFFFFF
_AF_ALG: Final = 38  # the kernel's cryptography, a way to the page cache (CVE-2026-31431)
_AF_VSOCK: Final = 40  # reaches the hypervisor, and no network namespace holds it
#: PER_LINUX, PER_LINUX32, both with UNAME26, and the question (linux/personality.h). ADDR_NO_RANDOMIZE is not here.
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_RULES: Final[dict[str, int | ArgumentRule]] = {
    "clone": ArgumentRule(0, _NEW_NAMESPACES, (0,), listed=True),
    # Its flags are behind a pointer, where no filter sees them. The C libraries fall back to clone.
    "clone3": ENOSYS,
    "socket": ArgumentRule(0, _ALL_BITS, (_AF_ALG, _AF_VSOCK), listed=False),
    "personality": ArgumentRule(0, _ALL_BITS, _PERSONALITIES, listed=True),
}

#: The capabilities that change a policy.
RELEVANT: Final = sum(1 << CAPABILITIES[name] for name in _BY_CAPABILITY)


def policy(machine: str, capabilities: int) -> Policy:
    """Decide every number for a ``machine`` as uname(2) calls it and a bit mask of granted capabilities."""
    actions: dict[str, int | ArgumentRule] = {**_RULES, **dict.fromkeys(_ALLOWED.split(), ALLOW)}
    for name, calls in _BY_CAPABILITY.items():
        if capabilities >> CAPABILITIES[name] & 1:
            actions.update(dict.fromkeys(calls.split(), ALLOW))
    numbers = NUMBERS[machine]
    by_number = {number: actions.get(name, EPERM) for name, number in numbers.items()}
    spans: list[Span] = []
    for number in range(max(by_number) + 2):
        action = by_number.get(number, ENOSYS)
        if not spans or spans[-1].action != action:
            spans.append(Span(number, action))
    return Policy(AUDIT_ARCH[machine], tuple(spans))
