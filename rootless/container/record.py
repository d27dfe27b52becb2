"""What is fixed when a container is created: ``container.json`` beside the bundle's ``config.json``."""

from __future__ import annotations

from rootless import codec
from rootless.container.request import RunRequest, VolumeRequest
from rootless.container.state import replace
from rootless.errors import StoreError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any


class RootfsRecord(NamedTuple):
    """Where the root file system comes from (fs.snapshot.driver.Rootfs, as JSON holds it)."""

    driver: str
    lowers: tuple[str, ...]
    upper: str
    work: str
    root: str


class ContainerRecord(NamedTuple):
    """A container as created; it does not change but for its name.

    ``created``: nanoseconds since 1970. ``uid_map`` and ``gid_map``: container ids to ids of the
    holder, ``holder_uid_map`` and ``holder_gid_map``: those to ids of the host, as
    /proc/PID/uid_map has them; all four are empty where the container shares the host's user
    namespace. ``notes``: what was chosen on this host and why.
    """

    id: str
    name: str
    created: int
    image: str
    image_id: str
    command: tuple[str, ...]
    layer_keys: tuple[str, ...]
    rootfs: RootfsRecord
    uid_map: str
    gid_map: str
    holder_uid_map: str
    holder_gid_map: str
    root_uid: int
    root_gid: int
    network: str
    open_stdin: bool
    tty: bool
    auto_remove: bool
    stop_signal: str
    stop_timeout: int
    labels: dict[str, str]
    request: RunRequest
    notes: tuple[str, ...] = ()

    @property
    def short_id(self) -> str:
        """The twelve digits that people see."""
        return self.id[:12]


def save(directory: str, record: ContainerRecord) -> None:
    """Write ``container.json``, replacing it at once."""
    raw = record._asdict()
    raw["rootfs"] = record.rootfs._asdict()
    raw["request"] = {**record.request._asdict(), "volumes": [v._asdict() for v in record.request.volumes]}
    replace(f"{directory}/container.json", raw)


def load(directory: str) -> ContainerRecord:
    """Read ``container.json``.

    Raises:
        FileNotFoundError: the container is being removed.
        StoreError: the file is damaged.
    """
    try:
        return _read(codec.load(f"{directory}/container.json"))
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        id_ = directory.rpartition("/")[2][:12]
        raise StoreError(
            f"the record of container {id_} is damaged: {directory}/container.json: {type(e).__name__}: {e}",
            hint=f"save what you need from it, then: rl rm -f {id_}",
        ) from e


def _read(raw: dict[str, Any]) -> ContainerRecord:
    request: dict[str, Any] = raw["request"]
    volumes = tuple(VolumeRequest(**_tuples(volume)) for volume in request.pop("volumes"))
    raw["request"] = RunRequest(**_tuples(request), volumes=volumes)
    raw["rootfs"] = RootfsRecord(**_tuples(raw["rootfs"]))
    return ContainerRecord(**_tuples(raw))


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with tuples where JSON has arrays."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
