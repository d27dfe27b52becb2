"""A second process for an unpacking: it writes small files while the first reads on, inflates, and makes the rest.

Making a file costs mostly the kernel's time, so two processes unpack one layer much faster than one. The first
decides everything in the order of the archive; it hands over files whose names are new and whose data it has, and
waits for them before it does anything that could meet them (``Sharing.settle``).
"""

from __future__ import annotations

import marshal
import mmap
import os
import select
import signal
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple, NoReturn

from fs import beneath
from fs.streams import CHUNK
from rootless.errors import StoreError
from rootless.linux import prctl

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

#: Chunks that the helper may have at once; with the next one the first process does not wait but works itself.
DEPTH: Final = 4

#: A layer with fewer compressed bytes is not worth a process.
WORTHWHILE: Final = 2 << 20

_LENGTH: Final = struct.Struct("=I")
_CACHED: Final = 256


#: A file to make: its directory, in which no component is a symbolic link, its name, mode, owner (-1 and -1 where the
#: owner is right from the start), time in nanoseconds, and where its data is in the chunk: the offset and the size.
#: Plain, since marshal knows nothing else.
Task = tuple[bytes, bytes, int, int, int, int, int, int]


def is_worthwhile(size: int) -> bool:
    """Tell whether a second process speeds up a layer of ``size`` compressed bytes here."""
    return size >= WORTHWHILE and len(os.sched_getaffinity(0)) > 1


class Helper:
    """The process and the way to it. Make it while this one has one thread; leaving the ``with`` block ends it."""

    def __init__(self, root: int) -> None:
        self._slots = mmap.mmap(-1, DEPTH * CHUNK)  # shared with the child (mmap(2), MAP_SHARED)
        jobs, self._jobs = os.pipe2(os.O_CLOEXEC)
        self._replies, replies = os.pipe2(os.O_CLOEXEC)
        self._next = 0
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._jobs)
            os.close(self._replies)
            _serve(root, self._slots, jobs, replies, parent)
        os.close(jobs)
        os.close(replies)
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)

    def send(self, chunk: bytes, tasks: list[Task], *, forget: bool) -> None:
        """Give work; at most ``DEPTH`` chunks may be unanswered. ``forget``: directories may have been replaced."""
        begin = self._next * CHUNK
        self._next = (self._next + 1) % DEPTH
        self._slots[begin : begin + len(chunk)] = chunk
        try:
            _write(self._jobs, (begin, forget, tasks))
        except BrokenPipeError:
            raise _lost() from None

    def answer(self, *, wait: bool) -> list[tuple[int, int]] | None:
        """Return what failed of the oldest unanswered chunk, as (index, errno); None: nothing to know yet."""
        if not wait and not self._poll.poll(0):
            return None
        answer: list[tuple[int, int]] | None = _read(self._replies)
        if answer is None:
            raise _lost()
        return answer

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._jobs)
        if kind is not None:
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._replies)
        self._slots.close()


class _Batch(NamedTuple):
    """What the first process keeps of files it handed over: enough to make them itself."""

    chunk: bytes
    reals: list[bytes]
    tasks: list[Task]
    whats: list[Any]


class Sharing:
    """Which files the helper has; ``pending`` are their real paths.

    ``redo`` is called for a file that could not be made, with what ``add`` was told, its data, and the errno.
    """

    def __init__(self, helper: Helper, redo: Callable[[Any, memoryview, int], None]) -> None:
        self._helper = helper
        self._redo = redo
        self._batch = _Batch(b"", [], [], [])
        self._sent: list[_Batch] = []
        self._willing = False
        self._forget = False
        self.pending: set[bytes] = set()

    def takes(self, chunk: bytes) -> bool:
        """Tell whether files in ``chunk`` are to be handed over."""
        if chunk is not self._batch.chunk:
            self._flush()
            while self._sent and self._collect(wait=False):
                pass
            self._batch = _Batch(chunk, [], [], [])
            self._willing = len(self._sent) < DEPTH and len(chunk) <= CHUNK
        return self._willing

    def add(self, real: bytes, task: Task, what: Any) -> None:
        """Hand over a file of the chunk that was just taken."""
        self.pending.add(real)
        _, reals, tasks, whats = self._batch
        reals.append(real)
        tasks.append(task)
        whats.append(what)

    def settle(self) -> None:
        """Return when every file is there that was handed over."""
        if self.pending:
            self._flush()
            while self._sent:
                self._collect(wait=True)

    def forget(self) -> None:
        """Let the helper open directories anew: one of them may be another now."""
        self._forget = True

    def _flush(self) -> None:
        batch = self._batch
        self._batch = _Batch(b"", [], [], [])
        if batch.tasks:
            self._sent.append(batch)
            self._helper.send(batch.chunk, batch.tasks, forget=self._forget)
            self._forget = False

    def _collect(self, *, wait: bool) -> bool:
        failed = self._helper.answer(wait=wait)
        if failed is None:
            return False
        chunk, reals, tasks, whats = self._sent.pop(0)
        self.pending.difference_update(reals)
        for index, number in failed:
            offset, size = tasks[index][-2:]
            self._redo(whats[index], memoryview(chunk)[offset : offset + size], number)
        return True


# --- in the helper ------------------------------------------------------------------------------


def _serve(root: int, slots: mmap.mmap, jobs: int, replies: int, parent: int) -> NoReturn:
    try:
        prctl.prctl(prctl.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.umask(0)
        view = memoryview(slots)
        directories: dict[bytes, int] = {}
        while job := _read(jobs):
            begin, forget, tasks = job
            if forget or len(directories) > _CACHED:
                for fd in directories.values():
                    os.close(fd)
                directories.clear()
            _write(replies, _make_all(root, directories, view[begin : begin + CHUNK], tasks))
        os._exit(0)
    finally:
        os._exit(1)


def _make_all(root: int, directories: dict[bytes, int], chunk: memoryview, tasks: list[Task]) -> list[tuple[int, int]]:
    failed: list[tuple[int, int]] = []
    for index, (directory, name, mode, uid, gid, mtime, offset, size) in enumerate(tasks):
        try:
            parent = directories.get(directory)
            if parent is None:
                parent = directories[directory] = beneath.open_directory(root, directory)
            fd = os.open(name, _NEW, mode & 0o777, dir_fd=parent)
            try:
                end = offset + size
                while offset < end:
                    offset += os.write(fd, chunk[offset:end])
                # Owner before mode: chown(2) clears the set-user-ID bit.
                if uid >= 0:
                    os.fchown(fd, uid, gid)
                if mode & 0o7000:
                    os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime, mtime))
            finally:
                os.close(fd)
        except OSError as e:
            failed.append((index, e.errno or 0))
    return failed


# --- both ---------------------------------------------------------------------------------------


def _write(fd: int, value: Any) -> None:
    body = marshal.dumps(value)
    left = memoryview(_LENGTH.pack(len(body)) + body)
    while left:
        left = left[os.write(fd, left) :]


def _read(fd: int) -> Any:
    """Return what was written, or None where the other end is closed."""
    head = _exactly(fd, _LENGTH.size)
    if not head:
        return None
    body = _exactly(fd, _LENGTH.unpack(head)[0])
    return marshal.loads(body) if body else None


def _exactly(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = os.read(fd, count - len(data))
        if not piece:
            return b""
        data += piece
    return data


def _lost() -> StoreError:
    return StoreError(
        "a process that unpacked a layer was killed", hint="perhaps the machine ran out of memory (dmesg tells)"
    )
