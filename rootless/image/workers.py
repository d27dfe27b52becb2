"""Forked workers that unpack layers in a user namespace, and the coordinator's end of their pipes."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from fs.extract import Extracted
from fs.streams import Readable
from idmap.owners import OwnerRecord
from rootless import errors
from rootless.errors import RlError
from rootless.image.progress import Phase
from rootless.image.unpack import Job, unpack
from rootless.image.unpack_plan import Unpacker
from rootless.linux import prctl

_FRAME: Final = struct.Struct("=BHQ")  # kind, job, bytes; for the last two kinds: how many bytes follow
_STARTED: Final = 200
_DONE: Final = 201
_FAILED: Final = 202
_PHASES: Final = tuple(Phase)
_NO_JOB: Final = 0xFFFF
_JOB: Final = struct.Struct("=H")

#: What a worker does with a job; called in the worker.
Work = Callable[[int, Callable[[Phase, int], None]], dict[str, Any]]


class Event(NamedTuple):
    """Something that happened to job ``job``; ``result`` comes once, at its end."""

    job: int
    phase: Phase
    seen: int = 0
    result: dict[str, Any] | None = None


class Workers:
    """Up to ``count`` processes that take jobs in order; leaving the ``with`` block kills what still runs."""

    def __init__(self, count: int, jobs: int, unpacker: Unpacker, work: Work) -> None:
        self._unpacker = unpacker
        self._work = work
        self._left = jobs
        self._count = min(count, jobs)
        self._pids: dict[int, int] = {}  # pipe → pid
        self._current: dict[int, int] = {}  # pipe → job
        self._jobs_in, write_end = os.pipe2(os.O_CLOEXEC)
        # All jobs fit into the pipe at once: whoever is free takes the next.
        os.write(write_end, b"".join(_JOB.pack(index) for index in range(jobs)))
        os.close(write_end)

    def __enter__(self) -> Workers:
        preload()
        gc.freeze()
        try:
            for _ in range(self._count):
                self._fork()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def events(self) -> Iterator[Event]:
        """Yield what happens until every job is done.

        Raises:
            RlError: a worker failed or died; the others are to be killed by leaving the block.
        """
        poll = select.poll()
        buffers: dict[int, bytearray] = {}
        for pipe in self._pids:
            poll.register(pipe, select.POLLIN)
            buffers[pipe] = bytearray()
        while self._left:
            for pipe, _mask in poll.poll():
                data = os.read(pipe, 65536)
                buffers[pipe] += data
                yield from self._frames(pipe, buffers[pipe])
                if not data:
                    poll.unregister(pipe)
                    self._ended(pipe)

    def _frames(self, pipe: int, buffer: bytearray) -> Iterator[Event]:
        while len(buffer) >= _FRAME.size:
            kind, job, number = _FRAME.unpack_from(buffer)
            if kind not in (_DONE, _FAILED):
                del buffer[: _FRAME.size]
                if kind == _STARTED:
                    self._current[pipe] = job
                else:
                    yield Event(job, _PHASES[kind], number)
                continue
            if len(buffer) < _FRAME.size + number:
                return
            payload = json.loads(bytes(buffer[_FRAME.size : _FRAME.size + number]))
            del buffer[: _FRAME.size + number]
            if kind == _FAILED:
                raise rebuild_error(payload)
            self._left -= 1
            self._current.pop(pipe, None)
            yield Event(job, Phase.COMPLETE, 0, payload)

    def _ended(self, pipe: int) -> None:
        pid = self._pids.pop(pipe)
        os.close(pipe)
        status = os.waitpid(pid, 0)[1]
        if status == 0 or (not self._left and pipe not in self._current):
            return
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            hint = "perhaps the machine ran out of memory (dmesg tells)" if name == "SIGKILL" else None
            raise errors.StoreError(f"a process that unpacked a layer was killed by {name}", hint=hint)
        raise errors.StoreError(f"a process that unpacked a layer ended with status {os.WEXITSTATUS(status)}")

    def _fork(self) -> None:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _serve(self._jobs_in, write_end, parent, self._unpacker, self._work)
        os.close(write_end)
        self._pids[read_end] = pid

    def _kill(self) -> None:
        if self._jobs_in >= 0:
            os.close(self._jobs_in)
            self._jobs_in = -1
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)  # our child, not yet waited for: the number cannot mean another
        for pipe, pid in self._pids.items():
            os.waitpid(pid, 0)
            while os.read(pipe, 65536):
                pass  # until the worker's own helper, which has it too, is gone: it might still make a file
            os.close(pipe)
        self._pids.clear()
        gc.unfreeze()


def preload() -> None:
    """Import all that a worker may need: in the namespace our own files may be out of reach."""
    for name in ("encodings.idna", "queue", "isal.igzip_lib", "compression.zstd", "backports.zstd", "bz2", "lzma"):
        try:
            __import__(name)
        except ImportError:
            continue


def _serve(jobs_in: int, out: int, parent: int, unpacker: Unpacker, work: Work) -> None:
    """Be a worker: never returns."""
    job = _NO_JOB
    status = 1
    try:
        # Ctrl-C reaches the whole foreground group: the coordinator decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        unpacker.enter()
        # After enter: a change of credentials clears it (prctl(2)).
        prctl.prctl(prctl.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() not in (parent, 0):
            os._exit(1)
        os.umask(0)
        while data := os.read(jobs_in, _JOB.size):
            (job,) = _JOB.unpack(data)
            os.write(out, _FRAME.pack(_STARTED, job, 0))
            current = job

            def report(phase: Phase, seen: int) -> None:
                os.write(out, _FRAME.pack(_PHASES.index(phase), current, seen))  # noqa: B023

            _send(out, _DONE, job, work(job, report))
        status = 0
    except BaseException as e:
        _send(out, _FAILED, job, describe_error(e))
        status = 0
    finally:
        os._exit(status)


def _send(out: int, kind: int, job: int, payload: dict[str, Any]) -> None:
    body = json.dumps(payload).encode()
    view = memoryview(_FRAME.pack(kind, job, len(body)) + body)
    while view:
        view = view[os.write(out, view) :]


def describe_error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, RlError):
        kind = next(c.__name__ for c in type(error).__mro__ if getattr(errors, c.__name__, None) is c)
        return {"kind": kind, "message": error.message, "hint": error.hint}
    text = f"{type(error).__name__}: {error}"
    if os.environ.get("RL_DEBUG"):
        import traceback

        text = "".join(traceback.format_exception(error))
    return {"kind": "StoreError", "message": f"unpacking failed: {text}", "hint": None}


def rebuild_error(payload: dict[str, Any]) -> RlError:
    kind = getattr(errors, payload["kind"])
    error: RlError = kind(payload["message"], hint=payload["hint"])
    return error


def unpack_work(jobs: list[Job], unpacker: Unpacker, open_source: Callable[[Job], Readable]) -> Work:
    """Return the work of unpacking ``jobs``."""

    def work(index: int, report: Callable[[Phase, int], None]) -> dict[str, Any]:
        job = jobs[index]
        root = (unpacker.maps.uids.to_outside(0), unpacker.maps.gids.to_outside(0))
        status = os.fstat(job.root_fd)
        if None not in root and root != (status.st_uid, status.st_gid):
            os.fchown(job.root_fd, root[0] or 0, root[1] or 0)
        return pack(unpack(job, open_source(job), unpacker.maps, report))

    return work


def pack(extracted: Extracted) -> dict[str, Any]:
    """Return an extraction's outcome as JSON has it; bytes of names that are no text survive as surrogates."""
    values: dict[str, Any] = extracted._asdict()
    return values


def unpack_result(result: dict[str, Any]) -> Extracted:
    """Read what ``pack`` wrote."""
    return Extracted(
        entries=result["entries"],
        size=result["size"],
        records=tuple(OwnerRecord(*record) for record in result["records"]),
        implicit=tuple(result["implicit"]),
        skipped=tuple(result["skipped"]),
    )
