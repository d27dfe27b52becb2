"""``rl/hello``: a real image inside the package, for a first run without network; every byte is made here.

Its program is a static ELF file for x86_64 or aarch64 (elf(5)) that writes a text, then its
arguments one by one, and exits with 0.
"""

from __future__ import annotations

import functools
import io
import json
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fs.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from fs.digest import Digest
from fs.streams import Readable
from rootless.errors import NotFound
from rootless.image.reference import DEFAULT_TAG, ImageRef
from rootless.image.source import Served

NAME: Final = "docker.io/rl/hello"

_MESSAGE: Final = b"""\
Hello from a container that needed no root.

This program is the only file of the image rl/hello. To run it, rl has
 1. unpacked the image into your own store, with its owners mapped to your ids,
 2. made new user, mount, process, network, IPC, UTS and cgroup namespaces,
 3. mounted a writable root on top of the image, with a /proc and a /dev of its own,
 4. dropped what a container must not do, and started this program as process 1.

What to try next:
    rl run --rm -it docker.io/library/busybox sh
"""
_CREATED: Final = "2025-01-01T00:00:00Z"
_CREATED_SECONDS: Final = 1735689600
_BASE: Final = 0x400000  # where the file is mapped, as linkers do
_HEADERS: Final = 64 + 2 * 56
_DIRECTORIES: Final = (("dev", 0o755), ("etc", 0o755), ("proc", 0o755), ("sys", 0o755), ("tmp", 0o1777))


def _x86_64(message: int, newline: int, length: int) -> bytes:
    """Return the program; ``message`` and ``newline`` are distances from its first byte."""
    code = bytearray()

    def address(target: int) -> bytes:  # lea rsi, [rip + distance], at the end of what is there
        return b"\x48\x8d\x35" + struct.pack("<i", target - (len(code) + 7))

    write = b"\xbf\x01\0\0\0" + b"\xb8\x01\0\0\0" + b"\x0f\x05"  # mov edi, 1; mov eax, SYS_write; syscall
    code += b"\x48\x89\xe3"  # mov rbx, rsp: argc, argv[0], ..., 0
    code += address(message)
    code += b"\xba" + struct.pack("<I", length) + write  # mov edx, length
    code += b"\x48\x83\xc3\x08"  # add rbx, 8
    loop = len(code)
    code += b"\x48\x83\xc3\x08"  # add rbx, 8
    code += b"\x48\x8b\x33"  # mov rsi, [rbx]
    code += b"\x48\x85\xf6"  # test rsi, rsi
    code += b"\x74\0"  # jz done
    to_done = len(code)
    code += b"\x31\xd2"  # xor edx, edx
    code += b"\x80\x3c\x16\0" + b"\x74\x04" + b"\xff\xc2" + b"\xeb\xf6"  # while rsi[rdx]: inc edx
    code += write
    code += address(newline)
    code += b"\xba\x01\0\0\0" + write  # mov edx, 1
    code += b"\xeb" + struct.pack("<b", loop - (len(code) + 2))  # jmp loop
    code[to_done - 1] = len(code) - to_done
    code += b"\x31\xff" + b"\xb8\x3c\0\0\0" + b"\x0f\x05"  # xor edi, edi; mov eax, SYS_exit; syscall
    return bytes(code)


def _aarch64(message: int, newline: int, length: int) -> bytes:
    """Return the program; ``message`` and ``newline`` are distances from its first byte."""
    code: list[int] = []

    def load(register: int, value: int) -> int:  # movz
        return 0xD2800000 | value << 5 | register

    def address(target: int) -> int:  # adr x1, target
        distance = target - 4 * len(code)
        return 0x10000000 | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5 | 1

    def write() -> list[int]:
        return [load(0, 1), load(8, 64), 0xD4000001]  # svc 0

    code.append(0x910003F3)  # mov x19, sp: argc, argv[0], ..., 0
    code.append(address(message))
    code += [load(2, length), *write()]
    code.append(0x91002273)  # add x19, x19, 8
    loop = len(code)
    code.append(0xF8408E61)  # ldr x1, [x19, 8]!
    to_done = len(code)
    code.append(0xB4000001)  # cbz x1, done
    code.append(load(2, 0))
    code += [0x38626823, 0x34000063, 0x91000442, 0x17FFFFFD]  # while x1[x2]: add x2, x2, 1
    code += write()
    code.append(address(newline))
    code += [load(2, 1), *write()]
    code.append(0x14000000 | (loop - len(code)) & 0x3FFFFFF)  # b loop
    code[to_done] |= (len(code) - to_done) << 5
    code += [load(0, 0), load(8, 93), 0xD4000001]
    return b"".join(struct.pack("<I", word) for word in code)


class _Machine(NamedTuple):
    architecture: str
    elf: int  # e_machine
    page: int
    variant: str
    program: Callable[[int, int, int], bytes]


_MACHINES: Final = (
    _Machine("amd64", 62, 0x1000, "", _x86_64),
    _Machine("arm64", 183, 0x10000, "v8", _aarch64),
)


def program(machine: _Machine) -> bytes:
    """Return the static executable for one machine."""
    size = len(machine.program(0, 0, len(_MESSAGE)))  # the same wherever the text is
    code = machine.program(size, size + len(_MESSAGE) - 1, len(_MESSAGE))
    total = _HEADERS + len(code) + len(_MESSAGE)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",  # 64 bits, little-endian, version 1
        2,  # ET_EXEC
        machine.elf,
        1,
        _BASE + _HEADERS,  # entry
        64,
        0,
        0,
        64,
        56,
        2,
        0,
        0,
        0,
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, total, total, machine.page)  # PT_LOAD, read and execute
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # PT_GNU_STACK, not executable
    return header + load + stack + code + _MESSAGE


def _member(name: str, mode: int, kind: bytes, data: bytes = b"") -> bytes:
    """Return one entry of a tar archive (POSIX ustar)."""
    header = bytearray(512)
    struct.pack_into("100s8s8s8s12s12s8s1s", header, 0, name.encode(), b"%07o" % mode, b"0000000", b"0000000",
                     b"%011o" % len(data), b"%011o" % _CREATED_SECONDS, b" " * 8, kind)  # fmt: skip
    header[257:265] = b"ustar\x0000"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


def _layer(machine: _Machine) -> bytes:
    members = [_member(f"{name}/", mode, b"5") for name, mode in _DIRECTORIES]
    return b"".join([*members, _member("hello", 0o755, b"0", program(machine)), bytes(1024)])


def _image(machine: _Machine, blobs: dict[Digest, bytes]) -> dict[str, Any]:
    layer = _put(blobs, _layer(machine), OCI_LAYER)
    platform = {"architecture": machine.architecture, "os": "linux"}
    if machine.variant:
        platform["variant"] = machine.variant
    config = {
        **platform,
        "created": _CREATED,
        "config": {"Cmd": ["/hello"], "Env": ["PATH=/"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "history": [{"created": _CREATED, "created_by": "rl", "comment": "made by rl itself"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _put(blobs, _json(config), OCI_CONFIG),
        "layers": [layer],
    }
    return {**_put(blobs, _json(manifest), OCI_MANIFEST), "platform": platform}


def _put(blobs: dict[Digest, bytes], data: bytes, media_type: str) -> dict[str, Any]:
    digest = Digest.of(data)
    blobs[digest] = data
    return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


@functools.cache
def _contents() -> tuple[Digest, dict[Digest, bytes]]:
    blobs: dict[Digest, bytes] = {}
    manifests = [_image(machine, blobs) for machine in _MACHINES]
    index = _put(blobs, _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}), OCI_INDEX)
    return Digest.parse(index["digest"]), blobs


def is_embedded(ref: ImageRef) -> bool:
    """Tell whether ``ref`` means the image that this package carries."""
    return ref.name == NAME


class Embedded:
    """The package as a source of images."""

    def head(self, ref: ImageRef) -> Digest | None:
        return ref.digest or (_contents()[0] if ref.tag == DEFAULT_TAG else None)

    def manifest(self, ref: ImageRef, digest: Digest | None = None) -> Served:
        index, blobs = _contents()
        wanted = digest or self.head(ref)
        data = blobs.get(wanted) if wanted else None
        if data is None or wanted is None:
            raise NotFound(f"manifest for {ref.familiar()} not found: manifest unknown", hint="rl run --rm rl/hello")
        return Served(data, OCI_INDEX if wanted == index else OCI_MANIFEST, wanted)

    def small_blob(self, ref: ImageRef, blob: Descriptor, limit: int) -> bytes:
        return _contents()[1][blob.digest]

    def blob(self, ref: ImageRef, blob: Descriptor) -> Readable:
        return io.BytesIO(_contents()[1][blob.digest])

    def after_fork(self) -> None:
        pass

    def close(self) -> None:
        pass
