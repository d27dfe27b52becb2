"""References mean what they mean to Docker (distribution/reference, normalize_test.go has the rules)."""

from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.image import reference
from rootless.image.reference import ImageRef

DIGEST = "sha256:" + "a" * 64

TABLE = {
    "busybox": ("docker.io/library/busybox:latest", "busybox:latest"),
    "busybox:1.36": ("docker.io/library/busybox:1.36", "busybox:1.36"),
    "user/app": ("docker.io/user/app:latest", "user/app:latest"),
    "docker.io/busybox": ("docker.io/library/busybox:latest", "busybox:latest"),
    "index.docker.io/busybox": ("docker.io/library/busybox:latest", "busybox:latest"),
    "docker.io/library/busybox": ("docker.io/library/busybox:latest", "busybox:latest"),
    "localhost/app": ("localhost/app:latest", "localhost/app:latest"),
    "localhost:5000/a/b:c": ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
    "quay.io/a/b__c-d.e": ("quay.io/a/b__c-d.e:latest", "quay.io/a/b__c-d.e:latest"),
    "UPPER/app": ("UPPER/app:latest", "UPPER/app:latest"),
    "[::1]:5000/app": ("[::1]:5000/app:latest", "[::1]:5000/app:latest"),
    f"busybox@{DIGEST}": (f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
    f"busybox:1@{DIGEST}": (f"docker.io/library/busybox:1@{DIGEST}", f"busybox:1@{DIGEST}"),
    "a/b/c": ("docker.io/a/b/c:latest", "a/b/c:latest"),
    "docker.io/library/a/b": ("docker.io/library/a/b:latest", "docker.io/library/a/b:latest"),
}


@pytest.mark.parametrize("text", TABLE)
def test_a_reference_has_one_canonical_and_one_familiar_form(text: str) -> None:
    canonical, familiar = TABLE[text]
    ref = reference.parse(text)
    assert (ref.canonical(), ref.familiar()) == (canonical, familiar)
    assert reference.parse(ref.familiar()) == ref
    assert reference.parse(ref.canonical()) == ref


@pytest.mark.parametrize(
    "text",
    ["", ":tag", "a//b", "a/", "-a", "a:", "a:-b", "a@sha256:short", "http://a", "a b", "a:b:c", "a_", "a..b", "a\n",
     "a.b/", "x" * 300, "a:" + "t" * 129],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        reference.parse(text)


def test_upper_case_is_refused_with_dockers_sentence() -> None:
    with pytest.raises(UsageError) as caught:
        reference.parse("BAD")
    assert caught.value.message == "invalid reference format: repository name (library/BAD) must be lowercase"


def test_an_id_is_no_repository() -> None:
    with pytest.raises(UsageError, match="cannot specify 64-byte hexadecimal strings"):
        reference.parse("a" * 64)


def test_the_digest_decides_over_the_tag() -> None:
    ref = reference.parse(f"busybox:1@{DIGEST}")
    assert ref.pointer() == DIGEST
    assert ref.stored() == f"docker.io/library/busybox@{DIGEST}"


@pytest.mark.parametrize(
    ("text", "assumed"), [("a", True), ("h:5/a", True), ("h:5/a:b", False), (f"a@{DIGEST}", False)], ids=str
)
def test_latest_is_assumed_only_where_neither_tag_nor_digest_is_given(text: str, assumed: bool) -> None:
    assert reference.is_name_only(text) is assumed


def test_a_reference_is_a_value() -> None:
    assert reference.parse("a") == ImageRef("docker.io", "library/a", "latest")
