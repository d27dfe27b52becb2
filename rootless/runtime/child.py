"""Carry out a plan after fork: the outer steps, a fork into the new pid namespace, the inner steps.

Read this first: it is the whole of what happens between fork and exec.
"""

from __future__ import annotations

import os

from rootless.linux import fd as fds
from rootless.linux import pidfd
from rootless.runtime.kernel import Kernel
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import NoReturn

    from rootless.runtime.kernel import Channel
    from rootless.runtime.steps.step import Step

OUTER, INNER = 0, 1


class SetupPlan(NamedTuple):
    """Steps of the process that makes or joins the namespaces, and of the process that ends as the command.

    The second is forked by the first and, with a new pid namespace, is process 1 in it.
    """

    outer: tuple[Step, ...]
    inner: tuple[Step, ...]


def become(plan: SetupPlan, channel: Channel, stdio: tuple[int, int, int], keep: tuple[int, ...]) -> NoReturn:
    """Carry out ``plan`` in a just forked process that takes ``stdio`` as 0, 1 and 2; never return.

    ``keep``: further descriptors that steps use; every other one is closed.
    """
    kernel = Kernel(channel)
    phase, index = OUTER, 0
    try:
        for number, source in enumerate(stdio):
            os.dup2(source, number)  # inheritable by definition; the sources are above 2
        fds.close_all_but((*channel.descriptors(), *keep))
        os.chdir("/")
        for index, step in enumerate(plan.outer):  # noqa: B007  told by the handlers below
            kernel.about("")
            step.apply(kernel)
        _fork(kernel)
        phase = INNER
        for index, step in enumerate(plan.inner):  # noqa: B007
            kernel.about("")
            step.apply(kernel)
        kernel.fail(phase, index, 0, "the plan does not end in exec")
    except OSError as e:
        kernel.fail(phase, index, e.errno or 0, str(e.strerror))
    except BaseException as e:  # nothing may unwind into the parent's code
        kernel.fail(phase, index, 0, f"{type(e).__name__}: {e}")


def _fork(kernel: Kernel) -> None:
    """Return in a child whose pid the launcher was told; the caller ends, which the child can wait for."""
    me = pidfd.pidfd_open(os.getpid())
    pid = os.fork()
    if pid:
        os.write(kernel.channel.status, b"P%d\n" % pid)
        os._exit(0)
    kernel.channel.outer = me
