"""Do something in a forked child that ends first: what it imports and the passwords it read leave no trace here."""

from __future__ import annotations

import os

from rootless import codec
from rootless.errors import RlError
from rootless.linux import prctl
from rootless.runtime import control
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def apart(work: Callable[[], None], what: str) -> None:
    """Run ``work`` in a child and wait for it; its error is raised here.

    Raises:
        RlError: what ``work`` raised, or that the child was killed.
    """
    read, write = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child(work, write, parent)
    os.close(write)
    try:
        data = b""
        while chunk := os.read(read, 1 << 16):
            data += chunk
    finally:
        os.close(read)
        _, status = os.waitpid(pid, 0)
    if data:
        message = codec.loads(data)
        if message["event"] == "interrupt":
            raise KeyboardInterrupt
        raise control.revive(message)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise RlError(f"{what} was killed (exit code {code})", hint="nothing is half-written: type the command again")


def _child(work: Callable[[], None], write: int, parent: int) -> None:
    code = 1
    try:
        prctl.prctl(prctl.PR_SET_PDEATHSIG, 15)  # nobody waits for it any more
        if os.getppid() != parent:
            os._exit(1)
        work()
        code = 0
    except RlError as e:
        os.write(write, codec.dumps(control.describe(e)).encode())
    except KeyboardInterrupt:
        os.write(write, b'{"event": "interrupt"}')
    except OSError as e:
        from fs.trouble import explain

        described = explain(e, os.fsdecode(e.filename)) if e.filename else RlError(e.strerror or str(e))
        os.write(write, codec.dumps(control.describe(described)).encode())
    except BaseException:
        import traceback

        traceback.print_exc()
        os.write(write, codec.dumps(control.describe(RlError("an unexpected error; see above"))).encode())
    finally:
        os._exit(code)
