"""What the values of options mean: environment, volumes, mounts, sizes, moments. Pure; Docker's rules and words."""

from __future__ import annotations

import os
import posixpath

from rootless.container.request import VolumeRequest
from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Final

    _Refuse = Callable[[str], UsageError]

#: Makes the error of one option from its reason.

_NAME_START: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME: Final = _NAME_START | frozenset("_.-")
_PROPAGATION: Final = frozenset(("shared", "slave", "private", "rshared", "rslave", "rprivate"))
#: Words behind the second colon of -v; z, Z and the caching ones are for other hosts and mean nothing here.
_VOLUME_WORDS: Final = _PROPAGATION | frozenset(
    "z Z U nocopy copy exec noexec dev nodev suid nosuid bind rbind consistent cached delegated idmap".split()
)
_TMPFS_WORDS: Final = frozenset(
    "rw ro exec noexec dev nodev suid nosuid sync async atime noatime diratime nodiratime relatime norelatime "
    "strictatime nostrictatime remount".split()
)
_TMPFS_KEYS: Final = frozenset("size mode uid gid nr_inodes nr_blocks mpol".split())
_UNITS: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_BOOLEANS: Final = {"": True, "1": True, "true": True, "0": False, "false": False}


def environment(words: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what ``-e`` words mean: ``KEY=VALUE``, or a bare KEY, which removes it, where KEY is unset here."""
    result = []
    for word in words:
        key, equals, _ = word.partition("=")
        if not key:
            raise UsageError(f"invalid environment variable: {word}", hint="write -e NAME=VALUE or -e NAME")
        if "\0" in word:
            raise UsageError(f"invalid environment variable: {word!r}: it has a null byte")
        result.append(word if equals or key not in environ else f"{key}={environ[key]}")
    return tuple(result)


def env_file(path: str, content: bytes, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a file of ``--env-file`` sets; no quotes, no interpolation, a bare unset KEY is skipped.

    Raises:
        UsageError: names the file and the line.
    """
    result = []
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        where = f"invalid env file ({path}): line {number}"
        try:
            line = raw.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError:
            raise UsageError(f"{where}: it is not UTF-8") from None
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not key:
            raise UsageError(f"{where}: no variable name on line {line!r}")
        if any(character.isspace() for character in key):
            raise UsageError(
                f"{where}: variable {key!r} contains whitespaces", hint="write NAME=VALUE, without 'export'"
            )
        if equals:
            result.append(f"{key}={value}")
        elif key in environ:
            result.append(f"{key}={environ[key]}")
    return tuple(result)


def volume(text: str, cwd: str) -> VolumeRequest:
    """Return what ``-v [SOURCE:]TARGET[:WORDS]`` asks for."""
    parts = text.split(":")
    if len(parts) > 3 or "" in parts[: 2 if len(parts) > 1 else 1]:
        raise _bad_volume(text, "it is not [SOURCE:]TARGET[:OPTIONS]")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    words = parts[2] if len(parts) == 3 else ""
    target = _target(target, lambda why: _bad_volume(text, why))
    options = [word for word in words.split(",") if word]
    for word in options:
        if word not in _VOLUME_WORDS and word not in ("ro", "rw"):
            raise _bad_volume(text, f"invalid mode: {words}")
    if "ro" in options and "rw" in options:
        raise _bad_volume(text, f"invalid mode: {words}")
    rest = tuple(word for word in options if word not in ("ro", "rw"))
    if source.startswith((".", "/")):
        return VolumeRequest("bind", _absolute(source, cwd), target, "ro" in options, rest, create_source=True)
    if source:
        _check_volume_name(source)
    return VolumeRequest("volume", source, target, "ro" in options, rest)


def _bad_volume(text: str, why: str) -> UsageError:
    return UsageError(f"invalid volume specification: '{text}': {why}")


def _check_volume_name(name: str) -> None:
    if name[0] in _NAME_START and len(name) > 1 and _NAME.issuperset(name):
        return
    raise UsageError(
        f'create {name}: "{name}" includes invalid characters for a local volume name, '
        'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
        hint=f"for a directory of the host write an absolute path, or ./{name.removeprefix('~/')}",
    )


def _target(target: str, error: _Refuse) -> str:
    if not target.startswith("/"):
        raise error(f"invalid mount path: '{target}' mount path must be absolute")
    # normpath keeps two leading slashes, as POSIX allows.
    normal = "/" + posixpath.normpath(target).lstrip("/")
    if normal == "/":
        raise error("destination can't be '/'")
    return normal


def _absolute(path: str, cwd: str) -> str:
    return "/" + posixpath.normpath(posixpath.join(cwd, path)).lstrip("/")


def mount(text: str, cwd: str) -> VolumeRequest:
    """Return what ``--mount type=…,source=…,target=…`` asks for; ``options`` use the words of ``-v`` and tmpfs(5)."""

    def refuse(why: str) -> UsageError:
        return UsageError(f'invalid argument "{text}" for "--mount" flag: {why}')

    kind, source, target, readonly = "volume", "", "", False
    options: list[str] = []
    used: list[str] = []
    for field in _csv(text, refuse):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals and key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive"):
            raise refuse(f"invalid field '{field}' must be a key=value pair")
        if key.partition("-")[0] in ("bind", "volume", "tmpfs"):
            used.append(key)
        if key == "type":
            kind = value.lower()
        elif key in ("source", "src"):
            source = value
        elif key in ("target", "dst", "destination"):
            target = value
        elif key in ("readonly", "ro"):
            readonly = _boolean(key, value, refuse)
        elif key == "volume-nocopy":
            options += ["nocopy"] if _boolean(key, value, refuse) else []
        elif key == "bind-nonrecursive":
            options += ["bind"] if _boolean(key, value, refuse) else []
        elif key == "bind-propagation":
            if value not in _PROPAGATION:
                raise refuse(f"invalid propagation mode: {value}")
            options.append(value)
        elif key == "bind-recursive":
            if value not in ("enabled", "disabled", "writable", "readonly"):
                raise refuse(
                    f'invalid value for {key}: {value} (must be "enabled", "disabled", "writable", or "readonly")'
                )
            options += ["bind"] if value == "disabled" else []
        elif key == "tmpfs-size":
            options.append(f"size={_size_of(key, value, refuse)}")
        elif key == "tmpfs-mode":
            if not value or not set(value) <= set("01234567"):
                raise refuse(f"invalid value for {key}: {value}")
            options.append(f"mode={value}")
        elif key in ("consistency", "volume-label"):
            pass  # nothing to keep on one Linux host
        elif key in ("volume-driver", "volume-opt", "volume-subpath"):
            raise refuse(f"{key} is not supported")
        else:
            raise refuse(f"unexpected key '{key}' in '{field}'")
    if kind not in ("bind", "volume", "tmpfs"):
        raise refuse(f"invalid mount type: {kind}")
    for key in used:
        if not key.startswith(f"{kind}-"):
            raise refuse(f"cannot mix '{key.partition('-')[0]}-*' options with mount type '{kind}'")
    if not target:
        raise refuse("target is required")
    target = _target(target, refuse)
    if kind == "tmpfs" and source:
        raise refuse("cannot specify source for a tmpfs")
    if kind == "bind":
        if not source:
            raise refuse("source is required for a bind mount")
        if not source.startswith(("/", "./", "../")) and source not in (".", ".."):
            raise refuse(f"invalid mount path: '{source}' mount path must be absolute")
        source = _absolute(source, cwd)
    elif source:
        _check_volume_name(source)
    return VolumeRequest(kind, source, target, readonly, tuple(options))


def _csv(text: str, refuse: _Refuse) -> list[str]:
    if '"' not in text:
        return text.split(",") if text else []
    import _csv as csv  # the csv module proper costs milliseconds

    try:
        fields: list[str] = next(csv.reader([text]))
    except csv.Error as e:
        raise refuse(str(e)) from None
    return fields


def _boolean(key: str, text: str, refuse: _Refuse) -> bool:
    if text.lower() not in _BOOLEANS:
        raise refuse(f"invalid value for {key}: {text}")
    return _BOOLEANS[text.lower()]


def _size_of(key: str, text: str, refuse: _Refuse) -> int:
    try:
        return size(text)
    except UsageError:
        raise refuse(f"invalid value for {key}: {text}") from None


def tmpfs(text: str) -> VolumeRequest:
    """Return what ``--tmpfs TARGET[:OPTIONS]`` asks for; the options are those of tmpfs(5)."""

    def refuse(why: str) -> UsageError:
        return UsageError(f'invalid argument "{text}" for "--tmpfs" flag: {why}')

    target, _, words = text.partition(":")
    options = []
    readonly = False
    for word in words.split(","):
        key, equals, value = word.partition("=")
        if word in ("ro", "rw", ""):
            readonly = word == "ro" if word else readonly
        elif key == "size" and equals and not value.endswith("%"):
            options.append(f"size={_size_of(key, value, refuse)}")
        elif word in _TMPFS_WORDS or (equals and key in _TMPFS_KEYS):
            options.append(word)
        else:
            raise refuse(f"invalid tmpfs option {word!r}")
    return VolumeRequest("tmpfs", "", _target(target, refuse), readonly, tuple(options))


def volumes(
    shorts: Iterable[str], mounts: Iterable[str], tmpfses: Iterable[str], cwd: str
) -> tuple[VolumeRequest, ...]:
    """Return what all of ``-v``, ``--mount`` and ``--tmpfs`` ask for; no target may come twice."""
    result = (*(volume(text, cwd) for text in shorts), *(mount(text, cwd) for text in mounts), *map(tmpfs, tmpfses))
    seen = set()
    for request in result:
        if request.target in seen:
            raise UsageError(f"Duplicate mount point: {request.target}")
        seen.add(request.target)
    return result


def size(text: str) -> int:
    """Return bytes: a number, perhaps with a fraction, and b, k, m, g, t or p (kb, kib); 1k is 1024."""
    lower = text.strip().lower()
    number = lower.rstrip("bkmgtpi ")
    unit = lower[len(number) :].strip()
    short = unit[:1]
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    if short in _UNITS and unit in _spellings(short) and digits.isascii() and digits.isdigit():
        scale: int = 10 ** len(fraction)
        return int(digits) * _UNITS[short] // scale
    raise UsageError(f"invalid size: '{text}'", hint="write for example 512m or 2g")


def _spellings(unit: str) -> tuple[str, ...]:
    return (unit,) if unit in ("", "b") else (unit, f"{unit}b", f"{unit}ib")


def choice(flag: str, text: str, allowed: tuple[str, ...]) -> str:
    """Return ``text`` where it is one of ``allowed``."""
    if text not in allowed:
        words = ", ".join(f'"{word}"' for word in allowed[:-1])
        raise UsageError(f"invalid {flag} option: '{text}': must be one of {words} or \"{allowed[-1]}\"")
    return text


def read_env_files(paths: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read the files of ``--env-file`` in their order."""
    result: list[str] = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as e:
            raise UsageError(f"open {path}: {os.strerror(e.errno or 0).lower()}") from e
        result.extend(env_file(path, content, environ))
    return tuple(result)
