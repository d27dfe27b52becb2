"""Steps that build the root file system: mounts, masks, pivot_root."""

from __future__ import annotations

import errno
import os
import stat

from rootless.linux import mount
from rootless.runtime.kernel import Opened
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fs.snapshot.driver import Driver, Rootfs
    from rootless.runtime.kernel import Kernel

#: Where the new root is built. It must exist for whoever the child has become; what it hides in
#: the child's own mount namespace was opened before.
NEW_ROOT = "/tmp"


class Propagation(NamedTuple):
    """Set how mounts below ``/`` of the new namespace propagate (mount_namespaces(7))."""

    flags: int

    def apply(self, kernel: Kernel) -> None:
        mount.mount(None, "/", None, mount.MS_REC | self.flags)


class MountRoot(NamedTuple):
    """Mount the root file system and build beneath it from here on."""

    driver: Driver
    rootfs: Rootfs

    def apply(self, kernel: Kernel) -> None:
        self.driver.mount(self.rootfs, kernel.rootfs_fds, NEW_ROOT, False)
        kernel.root = os.open(NEW_ROOT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class MountFs(NamedTuple):
    """Mount a file system of the kernel's on ``target``."""

    fstype: str
    target: str
    flags: int
    data: str = ""

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        with kernel.beneath(self.target, directory=True) as where:
            mount.mount(self.fstype, where.path, self.fstype, self.flags, self.data or None)


class Bind(NamedTuple):
    """Bind the source ``key`` on ``target`` with everything mounted below it."""

    key: str
    target: str
    set_attributes: int = 0
    recursive: bool = True

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        source = kernel.fds[self.key]
        directory = stat.S_ISDIR(os.fstat(source).st_mode)
        with kernel.beneath(self.target, directory=directory) as where:
            flags = mount.MS_BIND | (mount.MS_REC if self.recursive else 0)
            mount.mount(f"/proc/self/fd/{source}", where.path, None, flags)
        if self.set_attributes:
            with kernel.beneath(self.target, directory=directory) as mounted:
                kernel.restrict(mounted.fd, self.set_attributes, recursive=self.recursive)


class BindHost(NamedTuple):
    """Bind a path of the host, as it is still seen before pivot_root, with what is mounted below it."""

    source: str
    target: str
    set_attributes: int = 0

    def apply(self, kernel: Kernel) -> None:
        with kernel.beneath(self.target, directory=True) as where:
            # Without MS_REC it is EINVAL: what an outer namespace has mounted over parts of it is locked.
            mount.mount(self.source, where.path, None, mount.MS_BIND | mount.MS_REC)
        if self.set_attributes:
            with kernel.beneath(self.target, directory=True) as mounted:
                kernel.restrict(mounted.fd, self.set_attributes, recursive=True)


class Symlink(NamedTuple):
    """Make a symbolic link in the new root; what is there already stays."""

    text: str
    target: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        parent, _, name = self.target.rpartition("/")
        with kernel.beneath(parent or "/", directory=True) as where:
            try:
                os.symlink(self.text, name, dir_fd=where.fd)
            except FileExistsError:
                return


class MakeDirectory(NamedTuple):
    """Make a directory in the new root, with its parents, where it is missing."""

    target: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        with kernel.beneath(self.target, directory=True):
            pass


class Mask(NamedTuple):
    """Hide a path of the new root, if it exists: a file behind /dev/null, a directory behind an empty tmpfs."""

    target: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        found = kernel.existing(self.target)
        if found is None:
            return
        with found:
            if stat.S_ISDIR(os.fstat(found.fd).st_mode):
                flags = mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC
                mount.mount("tmpfs", found.path, "tmpfs", flags, "size=0k,nr_inodes=2,mode=0755")
            else:
                mount.mount(f"/proc/self/fd/{kernel.fds['/dev/null']}", found.path, None, mount.MS_BIND)


class MakeReadonly(NamedTuple):
    """Bind a path of the new root, if it exists, on itself and make it read-only."""

    target: str

    def apply(self, kernel: Kernel) -> None:
        kernel.about(self.target)
        found = kernel.existing(self.target)
        if found is None:
            return
        with found:
            mount.mount(found.path, found.path, None, mount.MS_BIND | mount.MS_REC)
        # Opened again: the first descriptor leads to what lies beneath the new mount.
        fd = kernel.open_existing(self.target, os.O_PATH)
        with Opened(fd) as mounted:
            kernel.restrict(mounted.fd, mount.MOUNT_ATTR_RDONLY, recursive=True)


class RestrictRoot(NamedTuple):
    """Make the root file system itself read-only; what is mounted on it keeps its own flags."""

    def apply(self, kernel: Kernel) -> None:
        kernel.restrict(kernel.root, mount.MOUNT_ATTR_RDONLY, recursive=False)


class PivotRoot(NamedTuple):
    """Make the new root the root of the namespace and let go of the old one (pivot_root(2), NOTES)."""

    def apply(self, kernel: Kernel) -> None:
        os.fchdir(kernel.root)
        try:
            mount.pivot_root(".", ".")
            mount.umount(".", mount.MNT_DETACH)
        except OSError as e:
            if e.errno != errno.EINVAL:
                raise
            # The old root is the kernel's initial ramfs, which cannot be moved.
            mount.mount(".", "/", None, mount.MS_MOVE)
            os.chroot(".")
        os.chdir("/")
        os.close(kernel.root)
        kernel.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
