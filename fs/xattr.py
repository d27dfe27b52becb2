"""Extended attributes of an archive: which are taken, and how they are put on a file (xattr(7))."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Final

#: What overlayfs and root emulation believe: an archive must not forge them.
RESERVED: Final = (b"user.overlay.", b"trusted.overlay.", b"user.containers.")

#: Errors that concern the attribute and not the disk: the host, the file system or the namespace refuses
#: the name, the type of file or the value. ext4 says ENOSPC for a value that does not fit the inode's block.
_REFUSALS: Final = frozenset(
    (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.ENOSPC, errno.ENODATA)
)


def apply(target: int | bytes, xattrs: Mapping[bytes, bytes]) -> list[tuple[bytes, str]]:
    """Set attributes on a descriptor, or on a path without following it; return (name, why) of those refused.

    Owners come first: chown(2) drops file capabilities. In a user namespace the kernel turns capabilities
    of version 2 into version 3, for that namespace's root only (capabilities(7)).
    """
    refused = []
    for name, value in xattrs.items():
        if name.startswith(RESERVED):
            refused.append((name, "reserved"))
            continue
        try:
            os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
        except OSError as e:
            if e.errno not in _REFUSALS:
                raise
            refused.append((name, os.strerror(e.errno)))
    return refused
