"""Compile a seccomp policy to classic BPF (linux/filter.h): a binary search over spans of numbers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from rootless.isolation.seccomp.profile import ALLOW, ENOSYS, EPERM, ArgumentRule

if TYPE_CHECKING:
    from rootless.isolation.seccomp.profile import Policy, Span

#: Instructions that the kernel takes at most (linux/bpf_common.h).
MAX_INSTRUCTIONS: Final = 4096

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP: Final = 0x05  # BPF_JMP | BPF_JA
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_GREATER_EQUAL: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
#: A conditional jump skips at most this many instructions.
_FARTHEST: Final = 255

# struct seccomp_data, little endian (linux/seccomp.h).
_NUMBER_AT: Final = 0
_ARCH_AT: Final = 4
_ARGUMENTS_AT: Final = 16


class Instruction(NamedTuple):
    """A struct sock_filter: ``jt`` and ``jf`` are how many instructions to skip if true or false."""

    code: int
    jt: int
    jf: int
    k: int


def compile_policy(policy: Policy) -> bytes:
    """Return the program as an array of struct sock_filter."""
    program = (
        Instruction(_LOAD, 0, 0, _ARCH_AT),
        Instruction(_JUMP_EQUAL, 1, 0, policy.audit_arch),
        Instruction(_RETURN, 0, 0, ENOSYS),
        Instruction(_LOAD, 0, 0, _NUMBER_AT),
        *_search(policy.spans),
    )
    if len(program) > MAX_INSTRUCTIONS:
        raise ValueError(f"{len(program)} instructions are more than the kernel takes")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _search(spans: tuple[Span, ...]) -> list[Instruction]:
    if len(spans) == 1:
        return _answer(spans[0].action)
    middle = len(spans) // 2
    below, above = _search(spans[:middle]), _search(spans[middle:])
    limit = spans[middle].first
    if len(below) <= _FARTHEST:
        jump = [Instruction(_JUMP_GREATER_EQUAL, len(below), 0, limit)]
    else:
        jump = [Instruction(_JUMP_GREATER_EQUAL, 0, 1, limit), Instruction(_JUMP, 0, 0, len(below))]
    return [*jump, *below, *above]


def _answer(action: int | ArgumentRule) -> list[Instruction]:
    if not isinstance(action, ArgumentRule):
        return [Instruction(_RETURN, 0, 0, action)]
    tests = [
        Instruction(_JUMP_EQUAL, len(action.values) - position, 0, value)
        for position, value in enumerate(action.values)
    ]
    found, missing = (ALLOW, EPERM) if action.listed else (EPERM, ALLOW)
    return [
        Instruction(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * action.argument),
        Instruction(_AND, 0, 0, action.mask),
        *tests,
        Instruction(_RETURN, 0, 0, missing),
        Instruction(_RETURN, 0, 0, found),
    ]
