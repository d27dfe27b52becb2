"""Image documents: what is well-formed is read, everything else is a BadImage that names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs import descriptor as d
from fs.digest import Digest
from fs.platforms import Platform
from rootless.errors import BadImage, NotFound, UsageError

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))


def described(digest: Digest, media_type: str, size: int = 1, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest), "size": size, **more}


def manifest(**changes: object) -> dict[str, Any]:
    values: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": d.OCI_MANIFEST,
        "config": described(A, d.OCI_CONFIG),
        "layers": [described(B, d.OCI_LAYER_GZIP, 1234)],
    }
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def index(*platforms: tuple[str, ...] | None, **changes: object) -> dict[str, Any]:
    entries = []
    for number, platform in enumerate(platforms):
        entry = described(Digest.of(b"%d" % number), d.OCI_MANIFEST)
        if platform is not None:
            entry["platform"] = dict(zip(("os", "architecture", "variant"), platform, strict=False))
        entries.append(entry)
    return {"schemaVersion": 2, "mediaType": d.OCI_INDEX, "manifests": entries, **changes}


def config(**changes: object) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [str(C)]},
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "WorkingDir": "/srv", "Labels": {"a": "b"}},
        "history": [{"created_by": "make", "empty_layer": True}],
        **changes,
    }


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_manifest_is_read() -> None:
    """OCI's form."""
    read = d.parse_manifest(raw(manifest(annotations={"k": "v"})), d.OCI_MANIFEST)
    assert read.config.digest == A
    assert [(layer.digest, layer.size) for layer in read.layers] == [(B, 1234)]
    assert read.annotations == {"k": "v"}


def test_dockers_manifest_is_read() -> None:
    """Schema 2, served under a generic type too."""
    docker = manifest(
        mediaType=d.DOCKER_MANIFEST,
        config=described(A, d.DOCKER_CONFIG),
        layers=[described(B, d.DOCKER_LAYER_GZIP)],
    )
    assert d.parse_manifest(raw(docker), "application/json").media_type == d.DOCKER_MANIFEST


def test_a_manifest_without_a_type_of_its_own_has_the_one_that_was_served() -> None:
    """mediaType is optional in OCI's manifests; without any, the shape decides."""
    bare = raw(manifest(mediaType=None))
    assert d.parse_document(bare, d.OCI_MANIFEST).media_type == d.OCI_MANIFEST
    assert isinstance(d.parse_document(bare), d.Manifest)
    assert isinstance(d.parse_document(raw({"schemaVersion": 2, "manifests": []})), d.Index)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layers": {}}, "manifest.layers"),
        ({"layers": ["x"]}, r"manifest.layers\[0\]"),
        ({"layers": [{}]}, r"manifest.layers\[0\].mediaType"),
        ({"layers": [described(B, d.OCI_LAYER, -1)]}, r"manifest.layers\[0\].size"),
        ({"layers": [{**described(B, d.OCI_LAYER), "size": True}]}, r"manifest.layers\[0\].size"),
        ({"layers": [{**described(B, d.OCI_LAYER), "size": 1.0}]}, r"manifest.layers\[0\].size"),
        ({"layers": [{**described(B, d.OCI_LAYER), "size": 2**63}]}, r"manifest.layers\[0\].size"),
        ({"layers": [{**described(B, d.OCI_LAYER), "digest": "sha256:x"}]}, "not a sha256"),
        ({"config": None}, "manifest.config.mediaType"),
        ({"config": []}, "manifest.config"),
        ({"annotations": {"a": 1}}, "manifest.annotations"),
        ({"mediaType": 7}, "manifest.mediaType"),
        ({"mediaType": d.OCI_INDEX}, "not of the type"),
        ({"mediaType": "application/vnd.cncf.helm.chart.v1+json"}, "no image"),
        ({"manifests": []}, "at once"),
        ({"schemaVersion": 1}, "schema 1"),
        ({"schemaVersion": "2"}, "schemaVersion"),
        ({"annotations": {"a": "\ud800"}}, "annotations"),
    ],
)
def test_a_malformed_manifest_is_refused_by_field(changes: dict[str, object], named: str) -> None:
    """The message names the field."""
    with pytest.raises(BadImage, match=named):
        d.parse_document(raw(manifest(**changes)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff{}",
        b'{"a":NaN}',
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"size":' + b"9" * 100_000 + b"}",
        b"{" + b" " * d.MAX_MANIFEST + b"}",
        "{}".encode("utf-16"),
    ],
    ids=range(12),
)
def test_hostile_json_is_refused(data: bytes) -> None:
    """Too deep, too long, too large a number, another encoding: never another exception."""
    with pytest.raises(BadImage):
        d.parse_document(data)
    with pytest.raises(BadImage):
        d.parse_index(data)


# No deadline on a busy machine; no database where the tests may not write.
QUIET = settings(deadline=None, database=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@QUIET
@given(st.sampled_from(sorted({*manifest(), *index()})), JSON)
def test_any_value_in_a_manifest_is_read_or_refused(field: str, value: object) -> None:
    """No field can make another exception."""
    try:
        d.parse_document(raw({**manifest(), field: value}))
        d.parse_document(raw({**index(("linux", "amd64")), field: value}))
    except BadImage:
        pass


CONFIG_FIELDS = ["User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "Volumes", "ExposedPorts", "StopSignal"]


@QUIET
@given(st.sampled_from(CONFIG_FIELDS), JSON, st.sampled_from(sorted(config())))
def test_any_value_in_a_configuration_is_read_or_refused(inner: str, value: object, outer: str) -> None:
    """No field can make another exception."""
    for document in (config(config={inner: value}), config(**{outer: value})):
        try:
            d.parse_config(raw(document))
        except BadImage:
            pass


def test_a_served_type_that_contradicts_the_document_is_refused() -> None:
    """One of them lies (CVE-2021-41190)."""
    with pytest.raises(BadImage, match="served as"):
        d.parse_document(raw(manifest()), d.DOCKER_MANIFEST)


def test_schema_1_is_refused_with_a_way_out() -> None:
    """Nobody writes it any more; some registries still serve it."""
    with pytest.raises(BadImage, match="schema 1") as caught:
        d.parse_document(b"{}", d.DOCKER_SCHEMA1_SIGNED)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", [("linux", "arm64"), ("linux", "amd64")], 1),
        ("linux/amd64", [("linux", "386"), ("linux", "amd64")], 1),
        ("linux/amd64", [("linux", "386")], 0),
        ("linux/amd64", [("linux", "amd64", "v3"), ("linux", "amd64")], 1),
        ("linux/amd64/v3", [("linux", "amd64"), ("linux", "amd64", "v4"), ("linux", "amd64", "v2")], 2),
        ("linux/arm64", [("linux", "arm", "v7"), ("linux", "arm64", "v8")], 1),
        ("linux/arm64/v8", [("linux", "arm64")], 0),
        ("linux/arm64", [("linux", "arm", "v6"), ("linux", "arm", "v7")], 1),
        ("linux/arm/v7", [("linux", "arm", "v5"), ("linux", "arm", "v6"), ("linux", "arm", "v8")], 1),
        ("linux/arm", [("linux", "arm", "v6"), ("linux", "arm", "v7")], 1),
        ("linux/amd64", [("unknown", "unknown"), ("linux", "x86_64")], 1),
        ("linux/amd64", [None, ("linux", "amd64")], 1),
        ("linux/amd64", [("linux", "s390x"), None], 1),
        ("linux/s390x", [("linux", "amd64"), ("linux", "s390x")], 1),
        ("linux/amd64", [("linux", "amd64"), ("linux", "amd64")], 0),
    ],
    ids=str,
)
def test_the_best_platform_is_selected(wanted: str, offered: list[tuple[str, ...] | None], chosen: int) -> None:
    """In containerd's order: the exact one, lower variants, what the processor also runs."""
    document = d.parse_index(raw(index(*offered)))
    assert document.select(Platform.parse(wanted)).digest == Digest.of(b"%d" % chosen)


def test_a_missing_platform_says_which_there_are() -> None:
    """Docker's words, and a hint."""
    document = d.parse_index(raw(index(("linux", "arm64"), ("windows", "amd64"), ("unknown", "unknown"))))
    with pytest.raises(NotFound, match="no matching manifest for linux/riscv64") as caught:
        document.select(Platform.parse("linux/riscv64"))
    assert caught.value.hint == "the image exists for: linux/arm64, windows/amd64"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/AARCH64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("arm64", "linux/arm64"),
        ("riscv64", "linux/riscv64"),
        ("linux/amd64/v1", "linux/amd64"),
    ],
)
def test_platforms_are_normalised(text: str, normal: str) -> None:
    """To Go's names."""
    assert str(Platform.parse(text)) == normal


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux/\n"], ids=repr)
def test_what_is_no_platform_is_a_usage_error(text: str) -> None:
    """With an example in the hint."""
    with pytest.raises(UsageError):
        Platform.parse(text)


def test_a_configuration_is_read() -> None:
    """All that run needs, and the document itself."""
    read = d.parse_config(raw(config()))
    assert read.diff_ids == (C,)
    assert read.env == ("PATH=/bin",)
    assert (read.entrypoint, read.cmd) == (None, ("sh",))
    assert (read.user, read.working_dir, read.labels) == ("", "/srv", {"a": "b"})
    assert str(read.platform) == "linux/amd64"
    assert read.history[0].empty_layer
    assert read.raw["config"] == read.config


def test_fields_that_are_null_are_none_given() -> None:
    """Go's encoder writes null for an empty slice; Docker's old images have every field."""
    fields = dict.fromkeys(CONFIG_FIELDS)
    read = d.parse_config(raw(config(config=fields, history=None)))
    assert (read.env, read.entrypoint, read.cmd, read.labels, read.volumes) == ((), None, None, {}, ())
    assert read.config == {}


def test_a_command_may_be_one_string() -> None:
    """As images of Docker 1.x have it."""
    assert d.parse_config(raw(config(config={"Entrypoint": "/run.sh", "Cmd": []}))).entrypoint == ("/run.sh",)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"Env": "A=b"}, "config.Env"),
        ({"Env": [1]}, r"config.Env\[0\]"),
        ({"Env": ["=x"]}, r"config.Env\[0\]"),
        ({"Env": ["A=\0"]}, r"config.Env\[0\]"),
        ({"Cmd": {}}, "config.Cmd"),
        ({"Cmd": ["a", None]}, r"config.Cmd\[1\]"),
        ({"Cmd": ["\udcff"]}, r"config.Cmd\[0\]"),
        ({"Entrypoint": 1}, "config.Entrypoint"),
        ({"User": 0}, "config.User"),
        ({"WorkingDir": ["/"]}, "config.WorkingDir"),
        ({"Labels": ["a"]}, "config.Labels"),
        ({"Labels": {"a": 1}}, "config.Labels"),
        ({"Volumes": ["/data"]}, "config.Volumes"),
        ({"StopSignal": 15}, "config.StopSignal"),
    ],
    ids=str,
)
def test_a_wrong_type_in_a_configuration_is_named(fields: dict[str, object], named: str) -> None:
    """The image's maker must find it."""
    with pytest.raises(BadImage, match=named):
        d.parse_config(raw(config(config=fields)))


def test_layers_are_paired_with_their_diff_ids() -> None:
    """In order, lowest first."""
    pairs = d.layers_of(d.parse_manifest(raw(manifest())), d.parse_config(raw(config())))
    assert [(blob.digest, diff_id) for blob, diff_id in pairs] == [(B, C)]


def test_documents_that_disagree_are_refused() -> None:
    """More layers than diff ids would be layers that nobody verifies."""
    two = d.parse_manifest(raw(manifest(layers=[described(B, d.OCI_LAYER)] * 2)))
    with pytest.raises(BadImage, match="2 layers"):
        d.layers_of(two, d.parse_config(raw(config())))


def test_an_artifact_is_no_image() -> None:
    """A Helm chart has a manifest too."""
    chart = manifest(config=described(A, "application/vnd.cncf.helm.config.v1+json"))
    with pytest.raises(BadImage, match="artifact"):
        d.layers_of(d.parse_manifest(raw(chart)), d.parse_config(raw(config())))


def test_a_descriptor_is_written_as_it_was_read() -> None:
    """For index.json."""
    read = d.parse_index(raw(index(("linux", "arm", "v6")))).manifests[0]
    assert read.json() == index(("linux", "arm", "v6"))["manifests"][0]
