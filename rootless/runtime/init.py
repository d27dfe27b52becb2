"""``--init``: process 1 that starts the command, reaps orphans, forwards signals, and ends as the command did."""

from __future__ import annotations

import _signal
import os

from rootless.linux import fd as fds
from rootless.linux import prctl
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.runtime.kernel import Kernel

_NOT_FORWARDED = (_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD)


def run(kernel: Kernel) -> None:
    """Return in the child that goes on to exec; the caller stays behind and never returns."""
    # The interpreter stays in the container as /proc/1/exe: nobody inside may open it (CVE-2019-5736).
    prctl.prctl(prctl.PR_SET_DUMPABLE, 0)
    signals = [n for n in range(1, 65) if n not in _NOT_FORWARDED and n not in (32, 33)]
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (*signals, _signal.SIGCHLD))
    child = os.fork()
    if child == 0:
        foreground = os.isatty(0)
        os.setpgid(0, 0)
        if foreground:
            _take_terminal()
        return
    fds.close_all_but(())
    try:
        _serve(child, signals)
    finally:
        os._exit(125)


def _take_terminal() -> None:
    """Make the own process group the foreground one; SIGTTOU, which asks not to, is blocked here (tcsetpgrp(3))."""
    os.tcsetpgrp(0, os.getpgrp())


def _serve(child: int, signals: list[int]) -> None:
    while True:
        received = _signal.sigwaitinfo((*signals, _signal.SIGCHLD))
        if received.si_signo != _signal.SIGCHLD:
            try:
                os.kill(child, received.si_signo)
            except ProcessLookupError:
                pass  # it has ended; the next round reaps it
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(125)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(128 - code if code < 0 else code)
