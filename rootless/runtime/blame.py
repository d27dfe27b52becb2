"""From the step that failed to the sentence that a person can act on."""

from __future__ import annotations

import errno
import os

from rootless.errors import CommandNotExecutable, CommandNotFound, HostUnsupported, RlError, UsageError
from rootless.runtime import diagnose
from rootless.runtime.child import OUTER
from rootless.runtime.steps import command, mounts, namespaces
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rootless.container.record import ContainerRecord
    from rootless.errors import CommandError
    from rootless.runtime.child import SetupPlan
    from rootless.runtime.launch import StepFailed
    from rootless.runtime.steps.step import Step


#: What no step is to blame for: the disk, or a limit on open files.
_RESOURCES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE)


def start(plan: SetupPlan, failed: StepFailed, record: ContainerRecord) -> RlError:
    """Explain why a container did not start."""
    step = _step(plan, failed)
    if failed.errno in _RESOURCES and not isinstance(step, namespaces.Unshare | command.Exec):
        from fs.trouble import explain

        return explain(OSError(failed.errno, failed.text), record.rootfs.upper or record.rootfs.root)
    match step:
        case command.Exec():
            return _exec(step.arguments[0], failed.errno, record)
        case command.ChangeDirectory():
            return CommandNotExecutable(
                f"cannot enter the working directory {step.path!r}: {failed.text}",
                hint="choose another with -w, or -u to be a user who may",
            )
        case namespaces.Unshare() if failed.phase == OUTER:
            return diagnose.no_user_namespace(failed.errno)
        case namespaces.OpenSources():
            return _source(failed)
        case mounts.Bind() | mounts.MountFs() | mounts.MakeDirectory() | mounts.Symlink():
            return _mount(step, failed)
        case command.Identity():
            return _identity(step.uid, step.gid, failed, record)
        case namespaces.Sysctl():
            return RlError(f"cannot set the sysctl {failed.subject}: {failed.text}")
        case None:
            return RlError(failed.text, hint="try again; if it stays so, this is a fault of rl: please report it")
    return RlError(f"{type(step).__name__} failed on {failed.subject or 'the container'}: {failed.text}")


def execution(plan: SetupPlan, failed: StepFailed, record: ContainerRecord) -> RlError:
    """Explain why ``rl exec`` did not start its command."""
    step = _step(plan, failed)
    if isinstance(step, command.NamedIdentity):
        if failed.errno == 0:
            return UsageError(failed.text.partition(": ")[2] or failed.text)
        return _identity(-1, -1, failed, record)
    if isinstance(step, namespaces.JoinContainer) and failed.errno == errno.ESRCH:
        return RlError(f"container {record.id} is not running")
    return start(plan, failed, record)


def _step(plan: SetupPlan, failed: StepFailed) -> Step | None:
    phase = plan.outer if failed.phase == OUTER else plan.inner
    if not failed.text or failed.text.startswith("the child ended"):
        return None
    return phase[failed.index] if failed.index < len(phase) else None


def _exec(name: str, number: int, record: ContainerRecord) -> CommandError:
    if number == errno.ENOENT and "/" not in name:
        return CommandNotFound(f'exec: "{name}": executable file not found in $PATH')
    if number in (errno.ENOENT, errno.ENOTDIR):
        return CommandNotFound(
            f'exec: "{name}": stat {name}: no such file or directory',
            hint="if the file is there, the interpreter that it names (first line, or ELF loader) is not",
        )
    if number == errno.ENOEXEC:
        return CommandNotExecutable(
            f"exec {name}: exec format error",
            hint=f"it is no program for this machine ({os.uname().machine}), or a script without a #! line: "
            f"see the image's architecture with: rl inspect {record.image or record.short_id}",
        )
    if number == errno.EISDIR:
        return CommandNotExecutable(f'exec: "{name}": is a directory: permission denied')
    if number == errno.EACCES:
        return CommandNotExecutable(
            f'exec: "{name}": permission denied',
            hint="it is not executable, or only for a user that you are not",
        )
    return CommandNotExecutable(f'exec: "{name}": {os.strerror(number).lower()}')


def _source(failed: StepFailed) -> RlError:
    if failed.errno == errno.ENOENT:
        return RlError(f'invalid mount config for type "bind": bind source path does not exist: {failed.subject}')
    return RlError(f"cannot open {failed.subject!r} to mount it: {failed.text}")


def _mount(step: Step, failed: StepFailed) -> RlError:
    if failed.errno in (errno.ENOTDIR, errno.EISDIR):
        return RlError(
            f"cannot mount on {failed.subject!r}: are you trying to mount a directory onto a file (or vice-versa)?",
            hint="check that the source exists and is of the kind that the image has there",
        )
    if failed.errno in (errno.EPERM, errno.EACCES):
        return HostUnsupported(
            f"mounting {failed.subject!r} is not permitted here ({type(step).__name__}: {failed.text})",
            hint="rl info says what this host forbids",
        )
    if failed.errno == errno.EROFS:
        return RlError(f"cannot make the mount point {failed.subject!r}: the file system there is read-only")
    return RlError(f"cannot mount on {failed.subject!r}: {failed.text}")


def _identity(uid: int, gid: int, failed: StepFailed, record: ContainerRecord) -> RlError:
    if failed.errno != errno.EINVAL:
        return RlError(f"cannot become user {uid}:{gid}: {failed.text}")
    who = f"user {failed.subject}" if failed.subject else f"user {uid}:{gid}"
    return UsageError(
        f"{who} does not exist in this container: its id map has {_ids(record.uid_map)}",
        hint="sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER, then create it anew; "
        "or let your own user be that one: --userns=me",
    )


def _ids(text: str) -> str:
    ranges = []
    for line in text.splitlines():
        inside, _, length = (int(field) for field in line.split())
        ranges.append(f"{inside}" if length == 1 else f"{inside}-{inside + length - 1}")
    return "ids " + ", ".join(ranges) if len(ranges) > 1 or "-" in "".join(ranges) else f"id {''.join(ranges)} only"
