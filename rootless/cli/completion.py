"""What the shell offers on Tab: names of containers and images. Never an error: then it offers nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def of(kind: str) -> Callable[[str], list[str]] | None:
    """Return the function that completes ``kind`` (container, running, image, any), or None."""
    source = {"container": _containers, "running": _running, "image": _images, "any": _any}.get(kind)
    return None if source is None else lambda incomplete: _matching(source, incomplete)


def _matching(source: Callable[[], Iterator[str]], incomplete: str) -> list[str]:
    try:
        return sorted({name for name in source() if name.startswith(incomplete) and name.isprintable()})
    except Exception:  # whatever is wrong, the person is in the middle of a line
        return []


def _containers() -> Iterator[str]:
    from rootless.engine import containers

    return (view.name for view in containers.list_containers(all=True))


def _running() -> Iterator[str]:
    from rootless.engine import containers

    return (view.name for view in containers.list_containers(all=False))


def _images() -> Iterator[str]:
    from rootless.engine import images

    return (f"{view.repository}:{view.tag}" for view in images.list_images() if view.tag)


def _any() -> Iterator[str]:
    yield from _containers()
    yield from _images()
