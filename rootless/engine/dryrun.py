"""``rl run --dry-run``: decide everything, make nothing, and print it as JSON."""

from __future__ import annotations

import json

from fs import flock
from rootless.container import spec
from rootless.engine import create, drafts, image_root
from rootless.engine.starting import may_setgroups
from rootless.isolation import capabilities
from rootless.isolation.seccomp import cache
from rootless.runtime import plan
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from rootless.container.request import RunRequest
    from rootless.engine.drafts import Draft
    from rootless.runtime.steps.step import Step


def show(request: RunRequest) -> int:
    """Print the specification and every step of the container that ``request`` describes; return 0.

    An image that is missing is pulled, since without it nothing can be decided.
    """
    where = create.open_store()
    drafts.check(where, request)
    image = None if request.rootfs else image_root.find(where, request)
    with flock.store(where.data):
        draft = drafts.decide(where, request, image)
    print(json.dumps(document(draft), indent=2))
    return 0


def document(draft: Draft) -> dict[str, Any]:
    """Return the draft as JSON has it."""
    mask = capabilities.mask(draft.spec.process.capabilities)
    program = b"" if draft.spec.seccomp == "unconfined" else cache.program(f"{draft.paths.runtime}/seccomp", mask)
    situation = plan.Situation(
        driver=draft.driver,
        rootfs=draft.rootfs,
        net_fd=-1,
        tty_size=draft.request.tty_size or (24, 80),
        seccomp=program,
        setgroups=may_setgroups(draft.ids),
        inner_root=draft.ids.root,
    )
    steps = plan.container(draft.spec, situation)
    return {
        "bundle": draft.directory,
        "config.json": spec.to_json(draft.spec),
        "rootfs": draft.rootfs._asdict(),
        "files": draft.files,
        "steps": {"outer": [_text(step) for step in steps.outer], "inner": [_text(step) for step in steps.inner]},
        "notes": [note for note in (draft.ids.held.note, draft.ids.container.note) if note],
    }


def _text(step: Step) -> str:
    program = getattr(step, "program", None)
    return repr(step) if program is None else f"{type(step).__name__}({len(program) // 8} instructions)"
