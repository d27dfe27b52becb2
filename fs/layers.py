"""Unpacked layers: one directory each, published by one rename.

A tree serves one map of ids only, so the key is the layer's diff id and the fingerprint of the map, or
where directories of the layer have no entry of their own, and so look like those below, the chain id.
"""

from __future__ import annotations

import errno
import os

from fs.trouble import explain, writing
from rootless import codec
from rootless.errors import StoreError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from fs.digest import Digest

_DIGITS: Final = frozenset("0123456789abcdef")


class Key(NamedTuple):
    """The parts of a layer's key."""

    encoded: str  # of the diff id, or of the chain id
    fingerprint: str
    is_chain: bool


class LayerInfo(NamedTuple):
    """What is recorded of an unpacked layer (``layer.json``)."""

    diff_id: str
    chain_id: str = ""  # '' unless the key is of the chain
    entries: int = 0
    size: int = 0  # bytes of file content
    owners: int = 0  # entries whose owner is recorded rather than real
    skipped: tuple[str, ...] = ()
    implicit: tuple[str, ...] = ()
    uids: str = ""  # the map of the namespace that can remove the tree, as IdMap.text() has it
    gids: str = ""


class LayerStore:
    """The unpacked layers under ``layers_dir``."""

    def __init__(self, layers_dir: str) -> None:
        self._layers = layers_dir

    @staticmethod
    def key(diff_id: Digest, fingerprint: str, chain_id: Digest | None = None) -> str:
        """Return the key of a layer under one map; with ``chain_id`` of a layer that depends on those below."""
        return f"{chain_id.encoded}.{fingerprint}c" if chain_id else f"{diff_id.encoded}.{fingerprint}"

    @staticmethod
    def parse_key(key: str) -> Key | None:
        """Return the parts of ``key``, or None if it is none."""
        encoded, _, rest = key.partition(".")
        fingerprint, chained = (rest[:-1], True) if len(rest) in (4, 13) and rest[-1] == "c" else (rest, False)
        known = fingerprint == "one" or (len(fingerprint) == 12 and _DIGITS.issuperset(fingerprint))
        if not known or len(encoded) not in (64, 128) or not _DIGITS.issuperset(encoded):
            return None
        return Key(encoded, fingerprint, chained)

    @staticmethod
    def key_of_path(path: str) -> str:
        """Return the key of the layer whose tree is ``path``."""
        return os.path.basename(os.path.dirname(path))

    def path(self, key: str) -> str:
        """Return where the tree is, or would be."""
        return f"{self._layers}/{key}/fs"

    def has(self, key: str) -> bool:
        """Tell whether the layer is unpacked; then it is whole."""
        return os.path.isdir(self.path(key))

    def find(self, diff_id: Digest, chain_id: Digest, fingerprint: str) -> str | None:
        """Return the key under which the layer is unpacked, or None."""
        for key in (self.key(diff_id, fingerprint), self.key(diff_id, fingerprint, chain_id)):
            if self.has(key):
                return key
        return None

    def owners_path(self, key: str) -> str:
        """Return where owners that could not be set are recorded; the file exists only if there are any."""
        return f"{self._layers}/{key}/owners"

    def keys(self) -> tuple[str, ...]:
        """Return the keys of all unpacked layers."""
        try:
            names = os.listdir(self._layers)
        except FileNotFoundError:
            return ()
        return tuple(name for name in names if LayerStore.parse_key(name))

    @staticmethod
    def stage(staging_dir: str, name: str) -> str:
        """Make a directory with an empty ``fs`` in it, to be filled and published; return its path.

        ``fs`` has mode 0755, which stays unless the layer has an entry for its root.
        """
        staged = f"{staging_dir}/{name}"
        with writing(staged):
            os.mkdir(staged, 0o700)
            os.mkdir(f"{staged}/fs", 0o755)
            os.chmod(f"{staged}/fs", 0o755)  # whatever the umask
        return staged

    def publish(self, staged: str, key: str, info: LayerInfo, *, sync: bool = True) -> None:
        """Make the staged tree the layer ``key``; where another process was faster, its tree stays.

        Everything is on disk before the name is: ``sync`` writes the whole file system, which is faster
        than an fsync for each file.
        """
        target = f"{self._layers}/{key}"
        with writing(target):
            os.makedirs(self._layers, 0o700, exist_ok=True)
            with open(f"{staged}/layer.json", "x", encoding="utf-8") as file:
                file.write(codec.dumps(info._asdict()))
            if sync:
                _sync_file_system(staged)
            try:
                os.rename(staged, target)
            except OSError as e:
                if e.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise

    def info(self, key: str) -> LayerInfo:
        """Return what was recorded when the layer was unpacked.

        Raises:
            StoreError: there is no such layer, or the record is damaged.
        """
        path = f"{self._layers}/{key}/layer.json"
        try:
            return _info(codec.load(path))
        except FileNotFoundError as e:
            raise StoreError(f"the layer {key} is not unpacked", hint="pull the image again") from e
        except (OSError, ValueError, TypeError) as e:
            raise StoreError(f"cannot read {path!r}: {e}") from e

    def retire(self, key: str, staging_dir: str) -> str | None:
        """Take a layer out of the store by one rename; return where it is now, or None if it was not there.

        Called under the exclusive store lock. To delete the tree, which takes long, needs no lock.
        """
        retired = f"{staging_dir}/{key}"
        try:
            os.rename(f"{self._layers}/{key}", retired)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise explain(e, self._layers) from e
        return retired

    def remove(self, key: str, tmp: str, remove: Callable[[str], None]) -> None:
        """Delete a layer, under the exclusive store lock; ``remove`` deletes trees with files of other ids."""
        from fs import staging

        with staging.new(tmp, remove) as directory:
            self.retire(key, directory)


def _info(values: Any) -> LayerInfo:
    known = {name: values[name] for name in LayerInfo._fields if name in values}
    info = LayerInfo(**known)
    return info._replace(skipped=tuple(info.skipped), implicit=tuple(info.implicit))


def _sync_file_system(path: str) -> None:
    from rootless.linux import fd as linux_fd

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        linux_fd.syncfs(fd)
    finally:
        os.close(fd)
