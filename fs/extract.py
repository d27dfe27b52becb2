"""Unpack a layer beneath a directory: exactly, quickly, and whatever the archive tries.

Every entry goes to a parent directory that was resolved inside of the root (``fs.beneath``), by a name of
one component, without following it. Directories get their owner, mode, attributes and time at the end:
until then they are ours to write in, and no set-group-ID bit or default ACL is inherited from them.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, NamedTuple

from fs import archive, beneath, refusals, whiteout, xattr
from fs.archive import Entry
from fs.helper import Helper, Sharing
from fs.ownership import Owner, Ownership
from fs.parents import Parents, Place
from fs.streams import Readable
from idmap.owners import OwnerRecord
from idmap.ranges import UserMap
from rootless.errors import BadImage

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL: Final = 0o7000

_TYPES: Final = {
    archive.FILE: stat.S_IFREG,
    archive.SYMLINK: stat.S_IFLNK,
    archive.CHARACTER_DEVICE: stat.S_IFCHR,
    archive.BLOCK_DEVICE: stat.S_IFBLK,
    archive.DIRECTORY: stat.S_IFDIR,
    archive.FIFO: stat.S_IFIFO,
}


class Extracted(NamedTuple):
    """What came out of an archive, and what of it the disk does not tell."""

    entries: int
    size: int
    """Bytes of file data, holes not counted."""
    records: tuple[OwnerRecord, ...]
    """Owners outside of the map, and device nodes that could not be made (these have ``rdev``)."""
    implicit: tuple[str, ...]
    """Directories without an entry of their own, made 0755 and root's; the root itself is never among them."""
    skipped: tuple[str, ...]
    """Extended attributes that could not be set: one line for each name and reason."""


def extract(stream: Readable, root_fd: int, owners: UserMap, helper: Helper | None = None) -> Extracted:
    """Unpack the tar archive ``stream`` into the empty directory ``root_fd``, and read it to its end.

    ``owners`` maps ids of the archive to ids of the caller's user namespace. ``helper``: a second process
    for the same directory, which makes some of the files. The process' umask is changed meanwhile. On an error
    what was written stays: the caller unpacks into a staging directory.

    Raises:
        BadImage: the archive is malformed, ends early, or wants out of the root.
        StoreError: the disk is full, or the file system refuses.
        HostUnsupported: the file system cannot hold what hides lower layers.
    """
    umask = os.umask(0)
    try:
        root = os.open(b".", _LIST, dir_fd=root_fd)
        try:
            extraction = _Extraction(stream, root, owners, helper)
            try:
                return extraction.run()
            finally:
                extraction.close()
        finally:
            os.close(root)
    finally:
        os.umask(umask)


class _Extraction:
    """The state of one unpacking; its paths are *real* (``fs.parents``), unless they are an entry's own."""

    def __init__(self, stream: Readable, root: int, owners: UserMap, helper: Helper | None) -> None:
        self._archive = archive.entries(stream)
        self._root = root
        self._ownership = Ownership(owners)
        self._sharing = Sharing(helper, self._make_again) if helper is not None else None
        self._parents = Parents(root, self._sharing)
        self._size = 0
        self._records: dict[bytes, tuple[int, OwnerRecord]] = {}
        self._directories: dict[bytes, tuple[int, Entry]] = {}
        self._refused: dict[tuple[bytes, str], tuple[int, bytes]] = {}
        self._makers = {
            archive.FILE: self._file,
            archive.HARD_LINK: self._hard_link,
            archive.SYMLINK: self._symlink,
            archive.DIRECTORY: self._directory,
            archive.CHARACTER_DEVICE: self._device,
            archive.BLOCK_DEVICE: self._device,
            archive.FIFO: self._fifo,
        }

    def close(self) -> None:
        self._parents.close()

    def run(self) -> Extracted:
        _set_aside_inheritance(self._root)
        parents = self._parents
        makers = self._makers
        for entry in self._archive:
            parents.now += 1
            try:
                path = beneath.clean(entry.name)
                hidden = whiteout.parse(path)
                if hidden is None:
                    makers[entry.kind](entry, path)
                elif hidden.kind is whiteout.Kind.HIDE:
                    parents.hide(hidden.path)
                elif hidden.kind is whiteout.Kind.OPAQUE:
                    whiteout.make_opaque(parents.inside(hidden.path), b".")
            except OSError as e:
                raise refusals.explained(e, entry.name) from e
        self._archive.drain()
        if self._sharing is not None:
            self._sharing.settle()
        implicit = [path for path, made in parents.implicit.items() if not parents.is_gone(path, made)]
        self._finish_directories(implicit)
        return Extracted(
            parents.now,
            self._size,
            tuple(record for path, (made, record) in self._records.items() if not parents.is_gone(path, made)),
            tuple(os.fsdecode(path) for path in implicit),
            tuple(refusals.refusal(name, why, *seen) for (name, why), seen in self._refused.items()),
        )

    # Whose they are

    def _record(self, path: bytes, entry: Entry, rdev: str = "") -> None:
        mode = _TYPES[entry.kind] | (entry.mode & 0o7777)
        record = OwnerRecord(os.fsdecode(path), entry.uid, entry.gid, mode, rdev)
        self._records[path] = (self._parents.now, record)

    def _vacate(self, path: bytes) -> Place:
        """Remove what an earlier entry left at ``path`` and what is known of it."""
        place = self._parents.vacate(path)
        self._records.pop(place[2], None)
        self._directories.pop(place[2], None)
        return place

    def _claim(self, path: bytes, entry: Entry) -> Owner:
        """Return who shall own the new entry at ``path``, recorded where the map has no such id."""
        owner = self._ownership.of(entry.uid, entry.gid)
        if owner.outside:
            self._record(path, entry)
        elif self._records:
            self._records.pop(path, None)
        return owner

    def _set_xattrs(self, target: int | bytes, entry: Entry, path: bytes) -> None:
        for name, why in xattr.apply(target, entry.xattrs):
            count, first = self._refused.get((name, why), (0, path))
            if count or len(self._refused) < 1000:
                self._refused[name, why] = (count + 1, first)

    # The kinds of entries

    def _file(self, entry: Entry, path: bytes) -> None:
        parent, name, real = self._parents.place(path)
        self._size += entry.size
        if self._sharing is not None and self._hand_over(self._sharing, entry, path, real):
            return
        # user.* attributes are written with the owner's permission, even through an open descriptor.
        mode = 0o600 if entry.xattrs else entry.mode & 0o777
        try:
            fd = os.open(name, _NEW, mode, dir_fd=parent)
        except FileExistsError:
            fd = os.open(name, _NEW, mode, dir_fd=self._vacate(path)[0])
        try:
            if entry.sparse is not None:
                self._archive.copy_sparse(fd, entry.sparse)
            elif entry.size:
                self._archive.copy_to(fd)
            self._finish_file(fd, entry, real)
        finally:
            os.close(fd)

    def _finish_file(self, fd: int, entry: Entry, real: bytes) -> None:
        owner = self._claim(real, entry)
        # Owner before the rest: chown(2) clears set-user-ID bits and file capabilities.
        if owner.change:
            os.fchown(fd, owner.uid, owner.gid)
        if entry.xattrs:
            self._set_xattrs(fd, entry, real)
            os.fchmod(fd, entry.mode & 0o7777)
        elif entry.mode & _SPECIAL:
            os.fchmod(fd, entry.mode & 0o7777)
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _hand_over(self, sharing: Sharing, entry: Entry, path: bytes, real: bytes) -> bool:
        """Let the helper make a file, if it has time, the data is at hand, and only a file can be in the way."""
        if entry.xattrs or entry.sparse is not None or not sharing.takes(self._archive.chunk):
            return False
        if real in self._directories or self._parents.is_special(real):
            return False
        offset = self._archive.at_hand()
        if offset < 0:
            return False
        owner = self._claim(real, entry)
        uid, gid = (owner.uid, owner.gid) if owner.change else (-1, -1)
        directory, _, name = real.rpartition(b"/")
        task = (directory, name, entry.mode & 0o7777, uid, gid, entry.mtime, offset, entry.size)
        sharing.add(real, task, (entry, path, self._parents.now))
        return True

    def _make_again(self, handed: tuple[Entry, bytes, int], data: memoryview, number: int) -> None:
        """Make a file which the helper could not make, as of when its entry came: it replaces an earlier one."""
        entry, path, then = handed
        if number != errno.EEXIST:
            raise refusals.explained(OSError(number, os.strerror(number)), entry.name)
        now, self._parents.now = self._parents.now, then
        try:
            parent, name, real = self._vacate(path)
            fd = os.open(name, _NEW, entry.mode & 0o777, dir_fd=parent)
            try:
                while data:
                    data = data[os.write(fd, data) :]
                self._finish_file(fd, entry, real)
            finally:
                os.close(fd)
        except OSError as e:
            raise refusals.explained(e, entry.name) from e
        finally:
            self._parents.now = now

    def _directory(self, entry: Entry, path: bytes) -> None:
        real = path
        if path:
            parent, name, real = self._parents.place(path)
            made = True
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                    made = False
                else:
                    parent = self._vacate(path)[0]
                    os.mkdir(name, 0o700, dir_fd=parent)
            if made and self._parents.is_hidden(real):
                whiteout.make_opaque(parent, name)
            self._parents.implicit.pop(real, None)
        self._claim(real, entry)
        self._directories[real] = (self._parents.now, entry)

    def _symlink(self, entry: Entry, path: bytes) -> None:
        if not 0 < len(entry.link) <= beneath.MAX_PATH:
            raise BadImage(f"symbolic link {beneath.shown(path)} has a target of {len(entry.link)} bytes")
        place = self._parents.place(path)
        try:
            os.symlink(entry.link, place[1], dir_fd=place[0])
        except FileExistsError:
            place = self._vacate(path)
            os.symlink(entry.link, place[1], dir_fd=place[0])
        self._parents.note_symlink(place[2])
        self._finish_node(entry, place)

    def _hard_link(self, entry: Entry, path: bytes) -> None:
        source = beneath.clean(entry.link)
        try:
            origin, old, old_real = self._parents.find(source)
        except (FileNotFoundError, NotADirectoryError):
            raise refusals.no_target(path, source) from None
        try:
            known = self._records.get(old_real)
            parent, name, real = self._parents.place(path)
            try:
                status = os.lstat(old or b".", dir_fd=origin)
                if self._parents.has_whiteout(origin, old):
                    raise refusals.no_target(path, source)
            except FileNotFoundError:
                if known is None or not known[1].rdev:
                    raise refusals.no_target(path, source) from None
                # To a device node that could not be made.
                self._record_link(real, known[1])
                return
            if stat.S_ISDIR(status.st_mode):
                raise BadImage(f"hard link {beneath.shown(path)} is to a directory, {beneath.shown(source)}")
            try:
                os.link(old, name, src_dir_fd=origin, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                if os.path.samestat(status, os.lstat(name, dir_fd=parent)):
                    return
                parent, name, real = self._vacate(path)
                os.link(old, name, src_dir_fd=origin, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(origin)
        self._records.pop(real, None)
        if stat.S_ISLNK(status.st_mode):
            self._parents.note_symlink(real)
        if known is not None:
            self._record_link(real, known[1])

    def _record_link(self, path: bytes, record: OwnerRecord) -> None:
        self._records[path] = (self._parents.now, record._replace(path=os.fsdecode(path)))

    def _device(self, entry: Entry, path: bytes) -> None:
        """Make the node where the kernel lets us, else record it: a user namespace has no mknod(2)."""
        place = self._parents.place(path)
        try:
            os.lstat(place[1], dir_fd=place[0])
            place = self._vacate(path)
        except FileNotFoundError:
            pass
        major, minor = entry.rdev
        kind = _TYPES[entry.kind]
        # A character device 0/0 would be a whiteout, which everybody may make and which hides a file.
        if entry.rdev != (0, 0) and 0 <= major < 1 << 12 and 0 <= minor < 1 << 20:
            try:
                os.mknod(place[1], kind | entry.mode & 0o777, os.makedev(major, minor), dir_fd=place[0])
            except OSError as e:
                if e.errno not in (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP):
                    raise
            else:
                self._finish_node(entry, place)
                return
        self._record(place[2], entry, f"{'c' if kind == stat.S_IFCHR else 'b'}:{major}:{minor}")

    def _fifo(self, entry: Entry, path: bytes) -> None:
        place = self._parents.place(path)
        try:
            os.mkfifo(place[1], entry.mode & 0o777, dir_fd=place[0])
        except FileExistsError:
            place = self._vacate(path)
            os.mkfifo(place[1], entry.mode & 0o777, dir_fd=place[0])
        self._finish_node(entry, place)

    def _finish_node(self, entry: Entry, place: Place) -> None:
        """Give owner, special bits, attributes and time to what cannot be opened."""
        parent, name, real = place
        owner = self._claim(real, entry)
        if owner.change:
            os.chown(name, owner.uid, owner.gid, dir_fd=parent, follow_symlinks=False)
        if entry.xattrs:
            # No call sets attributes relative to a directory.
            self._set_xattrs(b"/proc/self/fd/%d/%b" % (parent, name), entry, real)
        if entry.mode & _SPECIAL and entry.kind != archive.SYMLINK:
            os.chmod(name, entry.mode & 0o7777, dir_fd=parent)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    # At the end

    def _finish_directories(self, implicit: list[bytes]) -> None:
        """Give directories what they were spared so far: those that lock us out last, and the deepest first."""
        todo: dict[bytes, Entry | None] = dict.fromkeys([b"", *implicit])
        for path, (made, entry) in self._directories.items():
            if not self._parents.is_gone(path, made):
                todo[path] = entry

        def order(item: tuple[bytes, Entry | None]) -> tuple[bool, int]:
            path, entry = item
            locks = entry is not None and entry.mode & 0o500 != 0o500
            return locks, -path.count(b"/") if path else 1

        for path, found in sorted(todo.items(), key=order):
            try:
                self._finish_directory(path, found)
            except OSError as e:
                raise refusals.explained(e, path) from e

    def _finish_directory(self, path: bytes, entry: Entry | None) -> None:
        parent, name = self._parents.place(path)[:2] if path else (self._root, b".")
        fd = os.open(name, _LIST, dir_fd=parent)
        try:
            if entry is None:
                owner = self._ownership.root
                if owner.change or not path:
                    os.fchown(fd, owner.uid, owner.gid)
                os.fchmod(fd, 0o755)
                return
            owner = self._ownership.of(entry.uid, entry.gid)
            if owner.change or not path:
                os.fchown(fd, owner.uid, owner.gid)
            if entry.xattrs:
                self._set_xattrs(fd, entry, path)
            os.fchmod(fd, entry.mode & 0o7777)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)


def _set_aside_inheritance(root: int) -> None:
    """Free the root of a set-group-ID bit and of a default ACL, which a home may have: entries would inherit."""
    status = os.fstat(root)
    if status.st_mode & stat.S_ISGID:
        os.fchmod(root, 0o755)
    try:
        os.removexattr(root, "system.posix_acl_default")
    except OSError as e:
        if e.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
            raise
