"""Tags in index.json: atomic, tolerant of other tools' entries, and readable by them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fs import descriptor as d
from fs.blobs import BlobStore
from fs.descriptor import Descriptor
from fs.digest import Digest
from fs.layout import Layout
from rootless.errors import StoreError

BUSYBOX = "docker.io/library/busybox:latest"
IMAGE = Descriptor(d.OCI_MANIFEST, Digest.of(b"one"), 3)
OTHER = Descriptor(d.DOCKER_MANIFEST, Digest.of(b"two"), 3)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give an empty store's layout."""
    return Layout(str(tmp_path))


def test_an_empty_store_has_no_tags(layout: Layout) -> None:
    """There is no file either."""
    assert layout.tags() == {}
    assert layout.resolve(BUSYBOX) is None
    assert layout.untag(BUSYBOX) is None


def test_a_tag_resolves(layout: Layout) -> None:
    """To what it was set to."""
    assert layout.tag(BUSYBOX, IMAGE) is None
    found = layout.resolve(BUSYBOX)
    assert found is not None
    assert found.digest == IMAGE.digest
    assert found.annotations == {d.REF_NAME: BUSYBOX}
    assert list(layout.tags()) == [BUSYBOX]


def test_a_tag_moves(layout: Layout) -> None:
    """And says what it meant before."""
    layout.tag(BUSYBOX, IMAGE)
    before = layout.tag(BUSYBOX, OTHER)
    assert before is not None
    assert before.digest == IMAGE.digest
    assert {name: image.digest for name, image in layout.tags().items()} == {BUSYBOX: OTHER.digest}


def test_one_image_may_have_several_names(layout: Layout) -> None:
    """Also one by digest only."""
    by_digest = f"docker.io/library/busybox@{IMAGE.digest}"
    layout.tag(BUSYBOX, IMAGE)
    layout.tag(by_digest, IMAGE)
    layout.untag(BUSYBOX)
    assert list(layout.tags()) == [by_digest]


def test_other_tools_entries_stay(layout: Layout, tmp_path: Path) -> None:
    """Without a name, with annotations and fields of their own."""
    foreign = {**OTHER.json(), "annotations": {"a": "b"}, "artifactType": "x/y"}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [foreign], "extra": 1}))
    layout.tag(BUSYBOX, IMAGE)
    layout.untag(BUSYBOX)
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["manifests"] == [foreign]
    assert index["extra"] == 1
    assert layout.tags() == {}
    assert [image.digest for image in layout.descriptors()] == [OTHER.digest]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"manifests": 1}'], ids=repr)
def test_a_damaged_index_says_what_to_do(layout: Layout, tmp_path: Path, text: str) -> None:
    """It is never silently replaced by an empty one."""
    (tmp_path / "index.json").write_text(text)
    for attempt in (layout.tags, lambda: layout.tag(BUSYBOX, IMAGE)):
        with pytest.raises(StoreError, match="damaged") as caught:
            attempt()
        assert "mv " in str(caught.value.hint)
    assert (tmp_path / "index.json").read_text() == text


def test_a_damaged_entry_is_mended_by_tagging_again(layout: Layout, tmp_path: Path) -> None:
    """The others can be used meanwhile."""
    layout.tag("other", OTHER)
    index = json.loads((tmp_path / "index.json").read_text())
    index["manifests"].append({"annotations": {d.REF_NAME: BUSYBOX}, "size": "x"})
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert layout.resolve("other") is not None
    with pytest.raises(StoreError, match="damaged"):
        layout.resolve(BUSYBOX)
    assert layout.tag(BUSYBOX, IMAGE) is None
    assert len(layout.tags()) == 2


def test_eight_processes_lose_no_tag(layout: Layout) -> None:
    """Each sets ten of its own."""
    pids = []
    for process in range(8):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for number in range(10):
                    layout.tag(f"{process}:{number}", IMAGE)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    assert set(layout.tags()) == {f"{process}:{number}" for process in range(8) for number in range(10)}


def test_a_read_during_a_write_sees_the_old_or_the_new(layout: Layout, tmp_path: Path) -> None:
    """The file is replaced, never changed."""
    layout.tag(BUSYBOX, IMAGE)
    before = os.stat(tmp_path / "index.json").st_ino
    with open(tmp_path / "index.json") as reading:
        layout.tag("other", IMAGE)
        assert BUSYBOX in reading.read()
    assert os.stat(tmp_path / "index.json").st_ino != before
    assert os.listdir(tmp_path / "tmp") == []


def test_setting_a_tag_to_what_it_is_writes_nothing(layout: Layout, tmp_path: Path) -> None:
    """Pulling an image that is up to date."""
    layout.tag(BUSYBOX, IMAGE)
    before = os.stat(tmp_path / "index.json").st_ino
    layout.tag(BUSYBOX, IMAGE)
    assert os.stat(tmp_path / "index.json").st_ino == before


@pytest.mark.parametrize("ref", [BUSYBOX, "localhost:5000/a/b:1.0", "quay.io/x/y@sha256:" + "0" * 64])
def test_skopeo_reads_the_store(layout: Layout, tmp_path: Path, ref: str) -> None:
    """It is an OCI image layout like any other."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    blobs = BlobStore(str(tmp_path))
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "config": {"User": "me"}}
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": d.OCI_MANIFEST,
            "config": Descriptor(d.OCI_CONFIG, blobs.put(config), len(config)).json(),
            "layers": [],
        }
    ).encode()
    layout.tag(ref, Descriptor(d.OCI_MANIFEST, blobs.put(manifest), len(manifest)))
    layout.tag("other:name", IMAGE)
    done = subprocess.run(
        [skopeo, "inspect", "--config", f"oci:{tmp_path}:{ref}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["config"]["User"] == "me"
