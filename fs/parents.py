"""The directories of a tree that is being unpacked: found or made, kept open, and what became of them.

A *real* path has no symbolic link in it; the path of an entry may. What is remembered by real path
carries the number of the entry that caused it, so that it can be told from what came after a directory
above it was replaced.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Set as AbstractSet
from typing import Final

from fs import beneath, whiteout
from fs.beneath import Directory
from fs.helper import Sharing
from rootless.errors import BadImage

#: Open directories; the usual soft limit is 1024 descriptors, and the caller has some.
_CACHED: Final = 256

#: The parent directory of an entry, the entry's name in it, and the entry's real path.
Place = tuple[int, bytes, bytes]


class Parents:
    """Beneath the open directory ``root``, which nobody else changes meanwhile.

    But for a helper, if ``sharing`` names one: what it was handed is waited for before anything that meets it.
    """

    def __init__(self, root: int, sharing: Sharing | None = None) -> None:
        self._sharing = sharing
        self._pending: AbstractSet[bytes] = sharing.pending if sharing is not None else frozenset()
        self._root = Directory(root, b"")
        self._open_ones: dict[bytes, Directory] = {}
        self._removed: dict[bytes, int] = {}
        self._symlinks: set[bytes] = set()
        self._hidden: dict[bytes, int] = {}
        #: The number of the entry that is being unpacked.
        self.now = 0
        #: Directories that were made because something was to go into them.
        self.implicit: dict[bytes, int] = {}

    def close(self) -> None:
        """Close all directories but the root; they are opened again when they are asked for."""
        for directory in self._open_ones.values():
            os.close(directory.fd)
        self._open_ones.clear()
        if self._sharing is not None:
            self._sharing.forget()

    def place(self, path: bytes) -> Place:
        """Return where the entry ``path`` goes; the descriptor holds until the next call of a method.

        Raises:
            BadImage: it is the root.
            OSError: what ``beneath.walk`` raises.
        """
        head, _, name = path.rpartition(b"/")
        if not name:
            raise BadImage("the root of the archive is not a directory")
        directory = self._open_ones.get(head) or self._enter(head)
        real = directory.path + b"/" + name if directory.path else name
        if real in self._pending:
            self._settle()
        return directory.fd, name, real

    def inside(self, path: bytes) -> int:
        """Return a descriptor of the directory ``path`` itself, made where it is missing; as of ``place``."""
        return (self._open_ones.get(path) or self._enter(path)).fd

    def find(self, path: bytes) -> Place:
        """Return where an entry was put, as ``place`` does but making nothing; the caller closes the descriptor."""
        head, _, name = path.rpartition(b"/")
        directory = self._open(head, make=False)
        real = directory.path + b"/" + name if directory.path else name
        if real in self._pending:
            self._settle()
        return directory.fd, name, real

    def vacate(self, path: bytes) -> Place:
        """Remove whatever an earlier entry left at ``path``, and return its place."""
        self._settle()
        fd, name, real = self.place(path)
        mode = os.lstat(name, dir_fd=fd).st_mode
        beneath.remove(fd, name)
        if stat.S_ISDIR(mode):
            self._removed[real] = self.now
            self.implicit.pop(real, None)
        elif not stat.S_ISLNK(mode):
            return fd, name, real
        # Under whatever name, a directory kept open may be one that is no longer there.
        self.close()
        return self.place(path)

    def is_gone(self, real: bytes, made: int) -> bool:
        """Tell whether what entry ``made`` put at ``real`` went away with a directory above it."""
        if not self._removed:
            return False
        while real:
            real = real.rpartition(b"/")[0]
            if self._removed.get(real, -1) >= made:
                return True
        return False

    def note_symlink(self, real: bytes) -> None:
        """Remember that a path through ``real`` may not be what it seems."""
        self._symlinks.add(real)

    def hide(self, path: bytes) -> None:
        """Hide what lower layers have at ``path``, but not what this layer has there."""
        self._settle()
        fd, name, real = self.place(path)
        self._hidden[real] = self.now
        try:
            whiteout.make(fd, name)
        except FileExistsError:
            # A file covers what is below; a directory would be merged with it.
            if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                whiteout.make_opaque(fd, name)

    def is_special(self, real: bytes) -> bool:
        """Tell whether ``real`` may be something that later entries can pass through, or a whiteout."""
        return real in self._symlinks or real in self.implicit or real in self._hidden

    def is_hidden(self, real: bytes) -> bool:
        """Tell whether this layer has a whiteout for ``real``, though something may have taken its place."""
        made = self._hidden.get(real)
        return made is not None and not self.is_gone(real, made)

    def has_whiteout(self, fd: int, name: bytes) -> bool:
        """Tell whether ``name`` in ``fd`` is on disk a whiteout."""
        return bool(self._hidden) and whiteout.is_whiteout(fd, name)

    def _enter(self, head: bytes) -> Directory:
        if not head:
            return self._root
        try:
            directory = self._open(head, make=True)
        except NotADirectoryError:
            self._settle()
            if not self._uncover(head):
                raise
            directory = self._open(head, make=True)
        if len(self._open_ones) >= _CACHED:
            os.close(self._open_ones.pop(next(iter(self._open_ones))).fd)
        self._open_ones[head] = directory
        return directory

    def _open(self, head: bytes, *, make: bool) -> Directory:
        if not (self._symlinks and self._may_pass_link(head)):
            try:
                return Directory(beneath.open_directory(self._root.fd, head), head)
            except FileNotFoundError:
                if not make:
                    raise
        self._settle()
        return beneath.walk(self._root.fd, head, self._note_implicit if make else None)

    def _may_pass_link(self, path: bytes) -> bool:
        end = path.find(b"/")
        while end > 0:
            if path[:end] in self._symlinks:
                return True
            end = path.find(b"/", end + 1)
        return path in self._symlinks

    def _uncover(self, head: bytes) -> bool:
        """Put a directory in the place of a whiteout on the way to ``head``: this layer brings something there."""
        end = 0
        while end >= 0:
            end = head.find(b"/", end + 1)
            path = head if end < 0 else head[:end]
            if path not in self._hidden:
                continue
            fd, name, real = self.place(path)
            if whiteout.is_whiteout(fd, name):
                os.unlink(name, dir_fd=fd)
                os.mkdir(name, 0o755, dir_fd=fd)
                whiteout.make_opaque(fd, name)
                self._note_implicit(real)
                return True
        return False

    def _settle(self) -> None:
        if self._pending and self._sharing is not None:
            self._sharing.settle()

    def _note_implicit(self, real: bytes) -> None:
        self.implicit[real] = self.now
