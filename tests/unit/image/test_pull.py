"""A pull brings a whole image or none, from whatever registry."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fs.blobs import BlobStore
from fs.digest import Digest
from fs.layout import Layout as Tags
from rootless.config import Settings
from rootless.errors import BadImage, NotFound, RegistryError, RlError, StoreError
from rootless.image import local, pull, reference
from rootless.image.credentials import Found
from rootless.image.progress import Lines, Quiet
from rootless.image.pull import Pulled
from rootless.image.registry import Registry
from rootless.image.transport import Transport
from rootless.image.unpack_plan import Unpacker
from rootless.paths import Paths
from tests.support import oci
from tests.support.fake_registry import FakeRegistry

Puller = Callable[..., Pulled]


@pytest.fixture
def puller(fake: FakeRegistry, paths: Paths, unpacker: Unpacker) -> Puller:
    """Pull from the fake registry into the test's store."""

    def run(
        name: str = "app", *, platform: str | None = None, out: io.StringIO | None = None, **changes: Any
    ) -> Pulled:
        return pull.pull(
            paths,
            reference.parse(f"{fake.host}/{name}"),
            platform=platform,
            unpacker=unpacker._replace(**changes),
            progress=Lines(out) if out is not None else Quiet(),
            settings=Settings(),
            sources=(Registry(fake.host, Transport(Settings(), ()), Found(None), wait=lambda _: None),),
        )

    return run


def write_layer(layout: oci.Layout, path: Path, name: str, files: dict[str, bytes]) -> oci.Layer:
    tar = str(path / f"{name}.tar")
    with oci.TarWriter(tar) as out:
        for file, data in files.items():
            out.file(file, data)
    return layout.layer(tar)


@pytest.fixture
def app(fake: FakeRegistry, tmp_path: Path) -> FakeRegistry:
    """Two layers, one of them with a directory that has no entry: ``app:latest``, and ``app:multi``, an index."""
    layout = oci.Layout(str(tmp_path / "layout"))
    tar = str(tmp_path / "base.tar")
    with oci.TarWriter(tar) as out:
        out.directory("srv", 0o751)
        out.file("srv/below", b"below")
        out.file("top", b"1" * 300_000)
    layers = [layout.layer(tar), write_layer(layout, tmp_path, "upper", {"srv/above": b"above", "new/deep/file": b""})]
    image = layout.image(layers, {"Cmd": ["sh"]}, architecture="amd64")
    arm = layout.image(layers[:1], {"Cmd": ["arm"]}, architecture="arm64")
    layout.tag("latest", image)
    layout.tag("multi", layout.index([arm, image]))
    layout.tag("arm", arm)
    layout.close()
    fake.load(layout.path, "app")
    return fake


def test_a_pull_prints_dockers_lines(app: FakeRegistry, puller: Puller) -> None:
    out = io.StringIO()
    pulled = puller(out=out)
    lines = out.getvalue().splitlines()
    assert lines[0] == "latest: Pulling from app"
    ids = [layer.digest.encoded[:12] for layer in pulled.manifest.layers]
    assert lines[1:3] == [f"{id_}: Pulling fs layer" for id_ in ids]
    for id_ in ids:
        said = [line.partition(": ")[2] for line in lines if line.startswith(id_)]
        assert said == ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]
    assert lines[-2:] == [f"Digest: {pulled.digest}", f"Status: Downloaded newer image for {app.host}/app:latest"]


def test_a_second_pull_transfers_nothing(app: FakeRegistry, puller: Puller) -> None:
    puller()
    before = len([seen for seen in app.seen if seen.method == "GET"])
    out = io.StringIO()
    assert not puller(out=out).is_new
    assert len([seen for seen in app.seen if seen.method == "GET"]) == before
    assert out.getvalue().count("Already exists") == 2
    assert out.getvalue().endswith(f"Status: Image is up to date for {app.host}/app:latest\n")


def test_the_files_are_there_and_the_name_leads_to_them(app: FakeRegistry, puller: Puller, paths: Paths) -> None:
    pulled = puller()
    found = local.resolve(paths, f"{app.host}/app")
    assert found is not None
    assert found.id == pulled.manifest.config.digest
    lowers = local.lowers(paths, found.manifest, found.config, "one")
    assert lowers is not None
    upper, lower = map(Path, lowers)
    assert (lower / "srv/below").read_bytes() == b"below"
    assert (upper / "srv/above").read_bytes() == b"above"
    assert os.listdir(paths.tmp) == []


def test_an_implicit_directory_looks_like_the_one_below(app: FakeRegistry, puller: Puller, paths: Paths) -> None:
    pulled = puller()
    lowers = local.lowers(paths, pulled.manifest, pulled.config, "one")
    assert lowers is not None
    upper, lower = map(Path, lowers)
    assert upper.parent.name.endswith("c")
    assert (upper / "srv").stat().st_mode & 0o7777 == 0o751
    assert (upper / "srv").stat().st_mtime_ns == (lower / "srv").stat().st_mtime_ns
    assert (upper / "new/deep").stat().st_mode & 0o7777 == 0o755


def test_the_platform_of_this_host_is_chosen_and_another_on_request(app: FakeRegistry, puller: Puller) -> None:
    assert puller("app:multi", platform="linux/arm64").config.cmd == ("arm",)
    assert puller("app:multi", platform="linux/amd64").config.cmd == ("sh",)


def test_a_platform_that_the_image_does_not_have_is_told(app: FakeRegistry, puller: Puller) -> None:
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries") as caught:
        puller("app:multi", platform="linux/s390x")
    assert caught.value.hint is not None
    assert "linux/arm64" in caught.value.hint
    with pytest.raises(NotFound, match="does not provide the specified platform"):
        puller("app", platform="linux/s390x")


def test_a_pull_by_digest_is_found_by_that_digest(app: FakeRegistry, puller: Puller, paths: Paths) -> None:
    digest = puller("app:multi", platform="linux/amd64").digest
    for _ in range(2):
        found = local.resolve(paths, f"{app.host}/app@{digest}")
        assert found is not None
        assert found.config.cmd == ("sh",)
        puller(f"app@{digest}", platform="linux/amd64")
    assert f"{app.host}/app@{digest}" in Tags(paths.data).tags()


def nothing_half(paths: Paths) -> bool:
    """Tell whether there is no name, and nothing in the staging area."""
    return not Tags(paths.data).tags() and not os.listdir(paths.tmp)


def test_a_blob_that_is_not_its_digest_leaves_nothing(app: FakeRegistry, puller: Puller, paths: Paths) -> None:
    digest = json.loads(app.manifests["app", "latest"][1])["layers"][0]["digest"]
    damaged = bytearray(app.blobs[digest])
    damaged[-20] ^= 1
    app.blobs[digest] = bytes(damaged)
    with pytest.raises(BadImage, match="content has digest"):
        puller()
    assert nothing_half(paths)
    assert not BlobStore(paths.data).has(Digest.parse(digest))


def test_a_layer_that_is_not_its_diff_id_is_refused(
    fake: FakeRegistry, puller: Puller, paths: Paths, tmp_path: Path
) -> None:
    """A configuration that lies must not get its layer into the store under another layer's name."""
    layout = oci.Layout(str(tmp_path / "layout"))
    good = write_layer(layout, tmp_path, "good", {"file": b"good"})
    layout.tag("latest", layout.image([good._replace(diff_id=f"sha256:{'1' * 64}")], {}))
    layout.close()
    fake.load(layout.path, "app")
    with pytest.raises(BadImage, match="but the image's configuration says sha256:1111"):
        puller()
    assert nothing_half(paths)
    assert not os.path.exists(paths.layers)


def test_a_truncated_blob_is_told_and_the_complete_layer_is_kept(
    app: FakeRegistry, puller: Puller, paths: Paths
) -> None:
    layers = json.loads(app.manifests["app", "latest"][1])["layers"]
    big = max(layers, key=lambda layer: layer["size"])
    app.cut[big["digest"]] = [10, 0, 0, 0, 0]
    with pytest.raises(RegistryError, match="broke off at 10 of"):
        puller()
    assert nothing_half(paths)
    assert puller().is_new


def test_a_name_is_not_moved_by_a_pull_that_fails(app: FakeRegistry, puller: Puller, paths: Paths) -> None:
    puller()
    before = Tags(paths.data).tags()
    app.manifests["app", "latest"] = (app.manifests["app", "latest"][0], b"{not json")
    with pytest.raises(BadImage):
        puller()
    assert Tags(paths.data).tags() == before


def test_a_layer_of_another_compression_is_not_fetched_again(
    fake: FakeRegistry, puller: Puller, tmp_path: Path
) -> None:
    layout = oci.Layout(str(tmp_path / "layout"))
    tar = str(tmp_path / "a.tar")
    with oci.TarWriter(tar) as out:
        out.file("a", b"a")
    layout.tag("gzip", layout.image([layout.layer(tar)], {}))
    layout.tag("tar", layout.image([layout.layer(tar, "tar")], {}))
    layout.close()
    fake.load(layout.path, "app")
    puller("app:gzip")
    out_ = io.StringIO()
    puller("app:tar", out=out_)
    assert "Already exists" in out_.getvalue()


def test_equal_layers_are_fetched_once(fake: FakeRegistry, puller: Puller, tmp_path: Path, paths: Paths) -> None:
    layout = oci.Layout(str(tmp_path / "layout"))
    one = write_layer(layout, tmp_path, "one", {"d/a": b"a"})
    layout.tag("latest", layout.image([one, one, one], {}))
    layout.close()
    fake.load(layout.path, "app")
    pulled = puller()
    assert fake.gets(one.descriptor["digest"]) == [f"/v2/app/blobs/{one.descriptor['digest']}"]
    assert len(local.lowers(paths, pulled.manifest, pulled.config, "one") or ()) == 3


def test_a_killed_worker_is_told_and_leaves_nothing(app: FakeRegistry, puller: Puller, paths: Paths) -> None:
    with pytest.raises(StoreError, match="killed by SIGKILL"):
        puller(enter=lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert nothing_half(paths)


def test_what_goes_wrong_in_a_worker_is_told(app: FakeRegistry, puller: Puller, paths: Paths) -> None:
    def refuse() -> None:
        raise StoreError("the holder is gone", hint="run again")

    with pytest.raises(StoreError, match="the holder is gone") as caught:
        puller(enter=refuse)
    assert caught.value.hint == "run again"
    assert nothing_half(paths)


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_an_interrupted_pull_kills_its_workers(app: FakeRegistry, paths: Paths, unpacker: Unpacker) -> None:
    class Impatient(Quiet):
        def bytes(self, layer: str, done: int, total: int) -> None:
            raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        pull.pull(
            paths,
            reference.parse(f"{app.host}/app"),
            platform=None,
            unpacker=unpacker,
            progress=Impatient(),
            settings=Settings(),
        )
    assert nothing_half(paths)
    assert children() == before


def test_another_map_is_unpacked_from_the_kept_blobs(
    app: FakeRegistry, puller: Puller, paths: Paths, unpacker: Unpacker
) -> None:
    pulled = puller()
    before = len(app.seen)
    out = io.StringIO()
    other = unpacker._replace(fingerprint="0123456789ab")
    lowers = pull.ensure_unpacked(paths, pulled.manifest, pulled.config, other, Lines(out))
    assert len(app.seen) == before
    assert out.getvalue().startswith("Unpacking 2 layers for this id map")
    assert all(".0123456789ab" in lower for lower in lowers)
    assert (Path(lowers[0]) / "srv").stat().st_mode & 0o7777 == 0o751
    assert pull.ensure_unpacked(paths, pulled.manifest, pulled.config, other, Lines(out)) == lowers


def test_a_mirror_is_asked_first_and_need_not_have_the_image(
    app: FakeRegistry, paths: Paths, unpacker: Unpacker
) -> None:
    class Missing:
        asked = 0

        def head(self, ref: object) -> None:
            return None

        def manifest(self, ref: object, digest: object = None) -> Any:
            self.asked += 1
            raise NotFound("not here")

        def close(self) -> None:
            pass

    mirror: Any = Missing()
    ref = reference.parse(f"{app.host}/app")
    sources = (mirror, *pull.sources_of(ref, Settings()))
    pulled = pull.pull(
        paths, ref, platform=None, unpacker=unpacker, progress=Quiet(), settings=Settings(), sources=sources
    )
    assert pulled.is_new
    assert mirror.asked == 1


def test_an_artifact_is_no_image(fake: FakeRegistry, puller: Puller) -> None:
    data = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.example", "digest": f"sha256:{hashlib.sha256(b'{}').hexdigest()}",
                       "size": 2},
            "layers": [],
        }
    ).encode()  # fmt: skip
    fake.blobs[f"sha256:{hashlib.sha256(b'{}').hexdigest()}"] = b"{}"
    fake.manifests["app", "latest"] = (oci.OCI["manifest"], data)
    with pytest.raises(BadImage, match="artifact"):
        puller()


def test_bytes_behind_the_archive_count_too(fake: FakeRegistry, puller: Puller, tmp_path: Path) -> None:
    """The diff id is that of the whole stream, padding included; the digest that of all gzip members."""
    layout = oci.Layout(str(tmp_path / "layout"))
    tar = str(tmp_path / "a.tar")
    with oci.TarWriter(tar) as out:
        out.file("a", b"a")
    with open(tar, "ab") as f:
        f.write(bytes(100_000))
    data = Path(tar).read_bytes()
    blob = gzip.compress(data[:5000]) + gzip.compress(data[5000:])
    descriptor = layout.blob(blob, oci.OCI["gzip"])
    layer = oci.Layer(descriptor, f"sha256:{hashlib.sha256(data).hexdigest()}")
    layout.tag("latest", layout.image([layer], {}))
    layout.close()
    fake.load(layout.path, "app")
    assert puller().is_new


def test_errors_of_a_pull_are_for_people(puller: Puller, fake: FakeRegistry) -> None:
    with pytest.raises(RlError) as caught:
        puller("nothing:here")
    assert (
        caught.value.message == f"manifest for {fake.host}/nothing:here not found: manifest unknown: manifest unknown"
    )
