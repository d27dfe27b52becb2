"""The filter is proven against its table: every number, run through an interpreter of classic BPF."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import HostUnsupported
from rootless.isolation import capabilities
from rootless.isolation.seccomp import bpf, cache, profile
from rootless.isolation.seccomp.numbers import AUDIT_ARCH, NUMBERS
from rootless.isolation.seccomp.profile import ALLOW, ENOSYS, EPERM, ArgumentRule, Policy, Span
from rootless.linux import caps

DEFAULT = capabilities.effective()
MACHINES = ["x86_64", "aarch64"]
X32_BIT = 0x40000000
AUDIT_ARCH_I386 = 0x40000003

U32 = st.integers(0, 2**32 - 1)


def interpret(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = (0,) * 6) -> int:
    """Run a filter as the kernel does (linux/filter.h); what it may not do is an error."""
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *arguments)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, jt, jf, k = instructions[at]
        at += 1
        if code == 0x20:
            assert k % 4 == 0
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x05:
            at += k
        elif code == 0x15:
            at += jt if accumulator == k else jf
        elif code == 0x35:
            at += jt if accumulator >= k else jf
        elif code == 0x06:
            return int(k)
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


def answer(name: str, *arguments: int, machine: str = "x86_64", grant: tuple[str, ...] = ()) -> int:
    program = bpf.compile_policy(profile.policy(machine, DEFAULT | capabilities.mask(grant)))
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    return interpret(program, AUDIT_ARCH[machine], NUMBERS[machine][name], padded)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("granted", [0, DEFAULT, caps.ALL], ids=["none", "default", "all"])
def test_the_program_answers_every_number_as_the_table_does(machine: str, granted: int) -> None:
    policy = profile.policy(machine, granted)
    program = bpf.compile_policy(policy)
    edges = [2**32 - 1, X32_BIT, X32_BIT | 1, 2**31, 1023]
    for number in [*range(600), *edges]:
        for arguments in ((0,) * 6, (2**64 - 1,) * 6, (40,) * 6, (0x10000000,) * 6):
            assert interpret(program, policy.audit_arch, number, arguments) == policy.decide(number, arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_without_a_name_are_not_implemented(machine: str) -> None:
    policy = profile.policy(machine, caps.ALL)
    known = set(NUMBERS[machine].values())
    for number in range(1024):
        if number not in known:
            assert policy.decide(number) == ENOSYS
    assert policy.decide(X32_BIT | NUMBERS[machine]["read"]) == ENOSYS


def test_another_architectures_calls_are_not_implemented() -> None:
    program = bpf.compile_policy(profile.policy("x86_64", caps.ALL))
    assert {interpret(program, AUDIT_ARCH_I386, number) for number in range(500)} == {ENOSYS}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("read", ALLOW),
        ("getpid", ALLOW),
        ("execve", ALLOW),
        ("ptrace", ALLOW),
        ("capset", ALLOW),
        ("setgroups", ALLOW),
        ("prctl", ALLOW),
        ("chroot", ALLOW),
        ("keyctl", EPERM),
        ("add_key", EPERM),
        ("unshare", EPERM),
        ("setns", EPERM),
        ("mount", EPERM),
        ("bpf", EPERM),
        ("kexec_load", EPERM),
        ("init_module", EPERM),
        ("io_uring_setup", EPERM),
        ("userfaultfd", EPERM),
        ("reboot", EPERM),
        ("open_by_handle_at", EPERM),
        ("clock_settime", EPERM),
        ("clone3", ENOSYS),
    ],
)
def test_a_default_container_may_do_what_dockers_may(machine: str, name: str, expected: int) -> None:
    assert answer(name, machine=machine) == expected


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("SYS_ADMIN", "mount"),
        ("SYS_ADMIN", "clone3"),
        ("SYS_ADMIN", "unshare"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
        ("SYS_BOOT", "reboot"),
        ("SYS_MODULE", "finit_module"),
        ("SYS_NICE", "mbind"),
        ("SYS_PACCT", "acct"),
        ("SYS_PTRACE", "kcmp"),
        ("SYS_RAWIO", "iopl"),
        ("SYS_TIME", "clock_settime"),
        ("SYS_TTY_CONFIG", "vhangup"),
        ("SYSLOG", "syslog"),
        ("BPF", "bpf"),
        ("PERFMON", "perf_event_open"),
    ],
)
def test_a_granted_capability_allows_what_it_is_for(capability: str, name: str) -> None:
    assert answer(name) != ALLOW
    assert answer(name, grant=(capability,)) == ALLOW


@pytest.mark.parametrize("flag", [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_makes_no_namespace_without_sys_admin(flag: int) -> None:
    sigchld = 17
    assert answer("clone", sigchld) == ALLOW
    assert answer("clone", sigchld | flag) == EPERM
    assert answer("clone", sigchld | flag, grant=("SYS_ADMIN",)) == ALLOW


def test_clone_of_a_thread_is_allowed() -> None:
    assert answer("clone", 0x3D0F00) == ALLOW


@pytest.mark.parametrize(
    ("family", "expected"), [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW), (39, ALLOW), (38, EPERM), (40, EPERM)]
)
def test_sockets_of_two_families_are_refused(family: int, expected: int) -> None:
    assert answer("socket", family) == expected
    # The kernel takes an int; high bits must not get around the rule.
    assert answer("socket", family | 1 << 32) == expected


@pytest.mark.parametrize(
    ("persona", "expected"),
    [(0, ALLOW), (8, ALLOW), (0x20000, ALLOW), (0x20008, ALLOW), (0xFFFFFFFF, ALLOW), (0x0040000, EPERM), (1, EPERM)],
)
def test_personality_takes_only_harmless_values(persona: int, expected: int) -> None:
    assert answer("personality", persona) == expected


rules = st.builds(
    ArgumentRule, st.integers(0, 5), U32, st.lists(U32, min_size=1, max_size=5, unique=True).map(tuple), st.booleans()
)


@given(
    st.lists(st.integers(1, 5000), max_size=600, unique=True),
    st.lists(st.sampled_from([ALLOW, EPERM, ENOSYS]) | rules, min_size=1, max_size=20),
    st.lists(U32 | st.integers(0, 5001), min_size=1, max_size=20),
    st.tuples(*[st.integers(0, 2**64 - 1)] * 6),
)
def test_any_policy_compiles_to_a_program_that_keeps_it(
    borders: list[int], actions: list[int | ArgumentRule], numbers: list[int], arguments: tuple[int, ...]
) -> None:
    """Also those whose jumps are longer than the 255 instructions of a conditional one."""
    spans = tuple(Span(first, actions[i % len(actions)]) for i, first in enumerate([0, *sorted(borders)]))
    policy = Policy(AUDIT_ARCH["x86_64"], spans)
    try:
        program = bpf.compile_policy(policy)
    except ValueError:
        return
    for number in numbers:
        assert interpret(program, policy.audit_arch, number, arguments) == policy.decide(number, arguments)


def test_a_program_that_is_too_long_is_refused() -> None:
    spans = tuple(Span(first, ALLOW if first % 2 else EPERM) for first in range(bpf.MAX_INSTRUCTIONS))
    with pytest.raises(ValueError, match="instructions are more than the kernel takes"):
        bpf.compile_policy(Policy(AUDIT_ARCH["x86_64"], spans))


def test_x86_64_numbers_are_the_kernels() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("needs linux-libc-dev on x86_64")
    kernel = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}
    ours = NUMBERS["x86_64"]
    shared = kernel.keys() & ours.keys()
    assert {name: ours[name] for name in shared} == {name: kernel[name] for name in shared}
    assert {name for name in kernel.keys() - ours.keys() if kernel[name] <= max(ours.values())} == set()


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        ("x86_64", {"read": 0, "clone": 56, "getdents64": 217, "openat": 257, "rseq": 334, "file_setattr": 469}),
        ("aarch64", {"io_setup": 0, "read": 63, "clone": 220, "recvmmsg": 243, "wait4": 260, "kexec_file_load": 294}),
        ("aarch64", {"seccomp": 277, "clone3": 435, "mseal": 462}),
    ],
)
def test_numbers_of_both_machines_are_right_where_it_shows(machine: str, names: dict[str, int]) -> None:
    assert {name: NUMBERS[machine][name] for name in names} == names
    assert len(set(NUMBERS[machine].values())) == len(NUMBERS[machine])


def test_every_name_of_the_profile_is_a_call() -> None:
    names = {*profile._ALLOWED.split(), *profile._RULES, *" ".join(profile._BY_CAPABILITY.values()).split()}
    assert names <= NUMBERS["x86_64"].keys() | NUMBERS["aarch64"].keys()


def test_the_cache_knows_which_capabilities_matter() -> None:
    assert cache.RELEVANT == profile.RELEVANT


def test_a_changed_program_has_a_new_version() -> None:
    """When this fails: add one to cache.VERSION, or old files are loaded, and write the new digest here."""
    programs = b"".join(
        bpf.compile_policy(profile.policy(machine, granted)) for machine in MACHINES for granted in (DEFAULT, caps.ALL)
    )
    assert (cache.VERSION, hashlib.sha256(programs).hexdigest()[:16]) == (1, "f6f466ee871c89a2")


def test_a_filter_is_compiled_once_and_then_read(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    first = cache.program(str(directory), DEFAULT, "aarch64")
    assert first == bpf.compile_policy(profile.policy("aarch64", DEFAULT))
    assert os.listdir(directory) == [f"seccomp-aarch64-{cache.VERSION}-40000.bpf"]
    assert cache.program(str(directory), DEFAULT | capabilities.mask(["NET_ADMIN"]), "aarch64") == first
    assert len(os.listdir(directory)) == 1
    assert cache.program(str(directory), caps.ALL, "aarch64") != first
    assert len(os.listdir(directory)) == 2


@pytest.mark.parametrize("damage", [b"", b"\0" * 80, b"\x06\0\0", b"\x20\0\0\0\4\0\0\0"])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: bytes) -> None:
    good = cache.program(str(tmp_path), DEFAULT, "x86_64")
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert cache.program(str(tmp_path), DEFAULT, "x86_64") == good
    assert path.read_bytes() == good


def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert cache.program(str(tmp_path / "file" / "cache"), DEFAULT, "x86_64")


def test_an_unknown_machine_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostUnsupported, match="there is no seccomp filter for 'riscv64'"):
        cache.program(str(tmp_path), DEFAULT, "riscv64")


def test_reading_a_cached_filter_loads_neither_table_nor_compiler(tmp_path: Path) -> None:
    cache.program(str(tmp_path), DEFAULT, "x86_64")
    code = (
        "import sys; from rootless.isolation.seccomp import cache;"
        f"cache.program({str(tmp_path)!r}, {DEFAULT}, 'x86_64');"
        "print([m for m in sys.modules if m.startswith('rootless.isolation.seccomp.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['rootless.isolation.seccomp.cache']"
