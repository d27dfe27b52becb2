"""Streams of bytes: what a reader is, one that hashes what passes, and one that reads ahead in a thread."""

from __future__ import annotations

import hashlib
import queue
import threading
from types import TracebackType
from typing import Final, Protocol

#: How much to ask for at once: threads that pass fewer, larger pieces wait less for each other.
CHUNK: Final = 1 << 20


class Readable(Protocol):
    """Anything that gives bytes in order."""

    def read(self, n: int, /) -> bytes:
        """Return between 1 and ``n`` bytes, or ``b""`` at the end and ever after."""
        ...


class HashingReader:
    """Pass a stream on, and know the digest and the count of what has passed."""

    def __init__(self, raw: Readable, algorithm: str = "sha256") -> None:
        self._raw = raw
        self._hash = hashlib.new(algorithm)
        self.algorithm = algorithm
        self.count = 0

    def read(self, n: int, /) -> bytes:
        """Return up to ``n`` bytes of the stream, counted and hashed."""
        chunk = self._raw.read(n)
        # hashlib lets other threads run while it works on more than 2 KiB.
        self._hash.update(chunk)
        self.count += len(chunk)
        return chunk

    def hexdigest(self) -> str:
        """Return the digest, in hexadecimal, of what was read so far."""
        return self._hash.hexdigest()


class ReadAhead:
    """Read a stream in a thread of its own, at most ``depth`` chunks ahead of the reader.

    What the thread's stream raises is raised again by ``read``. Leaving the ``with`` block ends the
    thread at its next chunk, and waits for it: the stream is the caller's again.
    """

    def __init__(self, raw: Readable, *, chunk: int = CHUNK, depth: int = 8) -> None:
        self._raw = raw
        self._chunk = chunk
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(depth)
        self._rest: bytes = b""
        self._end: BaseException | None = None
        self._ended = False
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop:
                chunk = self._raw.read(self._chunk)
                self._queue.put(chunk)
                if not chunk:
                    return
        except BaseException as e:
            self._queue.put(e)

    def read(self, n: int, /) -> bytes:
        """Return the next chunk, or its first ``n`` bytes where it is longer."""
        chunk = self._rest
        if chunk:
            self._rest = b""
        elif self._ended:
            if self._end is not None:
                raise self._end
            return b""
        else:
            item = self._queue.get()
            if isinstance(item, BaseException):
                self._ended, self._end = True, item
                raise item
            chunk = item
            self._ended = not chunk
        if len(chunk) > n:
            self._rest = chunk[n:]
            return chunk[:n]
        return chunk

    def close(self) -> None:
        """End the thread; what it has read and nobody took is lost."""
        self._stop = True
        while self._thread.is_alive():
            try:
                # The thread may wait for room in the queue, and puts at most one more chunk after this.
                self._queue.get(timeout=0.02)
            except queue.Empty:
                pass
        self._thread.join()

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
