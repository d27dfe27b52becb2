"""``container.json``."""

from __future__ import annotations

from pathlib import Path

from rootless.container import record
from rootless.container.record import ContainerRecord, RootfsRecord
from rootless.container.request import RunRequest, VolumeRequest


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    volume = VolumeRequest("bind", "/a", "/b", readonly=True, options=("nosuid",), create_source=True)
    request = RunRequest("image", ("a", "b"), environment=("A=1",), volumes=(volume,), tty_size=(24, 80))
    made = ContainerRecord(
        id="a" * 64,
        name="web",
        created=1,
        image="image",
        image_id="sha256:x",
        command=("a", "b"),
        layer_keys=("k",),
        rootfs=RootfsRecord("overlay", ("/l1", "/l2"), "/u", "/w", "/r"),
        uid_map="0 0 1",
        gid_map="0 0 1",
        holder_uid_map="0 1000 1",
        holder_gid_map="0 1000 1",
        root_uid=0,
        root_gid=0,
        network="none",
        open_stdin=True,
        tty=False,
        auto_remove=True,
        stop_signal="SIGTERM",
        stop_timeout=10,
        labels={"a": "b"},
        request=request,
        notes=("n",),
    )
    record.save(str(tmp_path), made)
    assert record.load(str(tmp_path)) == made
    assert made.short_id == "a" * 12
