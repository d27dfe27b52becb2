"""What the values of options mean, and Docker's complaints about them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli import values
from rootless.container.request import VolumeRequest
from rootless.errors import UsageError

CWD = "/home/ann"


def refused(call: object, *arguments: object) -> str:
    with pytest.raises(UsageError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.message


def test_a_bare_key_copies_the_variable_or_removes_it() -> None:
    assert values.environment(("A=1", "B", "C", "D="), {"B": "x=y"}) == ("A=1", "B=x=y", "C", "D=")
    assert refused(values.environment, ("=x",), {}) == "invalid environment variable: =x"


def test_an_env_file_has_no_quotes_and_no_interpolation() -> None:
    content = b'\xef\xbb\xbfA=1\n# no\n\n  B="x" $A \nC\nD\r\nE= v\n\tF=#\n'
    assert values.env_file("f", content, {"C": "c"}) == ("A=1", 'B="x" $A ', "C=c", "E= v", "F=#")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A=1\nexport B=2\n", "invalid env file (f): line 2: variable 'export B' contains whitespaces"),
        (b"=x\n", "invalid env file (f): line 1: no variable name on line '=x'"),
        (b"\n\nA=\xff\n", "invalid env file (f): line 3: it is not UTF-8"),
    ],
)
def test_an_env_file_is_blamed_with_its_line(content: bytes, message: str) -> None:
    assert refused(values.env_file, "f", content, {}) == message


def test_a_missing_env_file_is_told_as_docker_does() -> None:
    assert refused(values.read_env_files, ["/no/such"], {}) == "open /no/such: no such file or directory"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", VolumeRequest("volume", "", "/data")),
        ("/src:/dst", VolumeRequest("bind", "/src", "/dst", create_source=True)),
        ("/src:/dst:ro", VolumeRequest("bind", "/src", "/dst", True, create_source=True)),
        ("./a/../b:/dst", VolumeRequest("bind", "/home/ann/b", "/dst", create_source=True)),
        (".:/dst:ro,Z", VolumeRequest("bind", "/home/ann", "/dst", True, ("Z",), True)),
        ("..:/dst", VolumeRequest("bind", "/home", "/dst", create_source=True)),
        ("db:/dst:nocopy", VolumeRequest("volume", "db", "/dst", False, ("nocopy",))),
        ("//x/:/dst//y/", VolumeRequest("bind", "/x", "/dst/y", create_source=True)),
        ("/a:/b:rshared,rw", VolumeRequest("bind", "/a", "/b", False, ("rshared",), True)),
    ],
)
def test_a_volume_says_source_target_and_mode(text: str, expected: VolumeRequest) -> None:
    assert values.volume(text, CWD) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "invalid volume specification: ''"),
        (":", "invalid volume specification: ':'"),
        ("/a:", "invalid volume specification: '/a:'"),
        ("/a:b", "mount path must be absolute"),
        ("data", "mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/b:rx", "invalid mode: rx"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:ro:x", "invalid volume specification"),
        ("a/b:/c", 'create a/b: "a/b" includes invalid characters for a local volume name'),
        ("~/x:/c", 'create ~/x: "~/x" includes invalid characters'),
    ],
)
def test_a_bad_volume_is_refused(text: str, part: str) -> None:
    assert part in refused(values.volume, text, CWD)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,source=/a,target=/b", VolumeRequest("bind", "/a", "/b")),
        ("type=bind,src=./a,dst=/b,readonly", VolumeRequest("bind", "/home/ann/a", "/b", True)),
        ("type=bind,src=/a,destination=/b,ro=false,bind-propagation=rslave",
         VolumeRequest("bind", "/a", "/b", False, ("rslave",))),
        ("source=db,target=/b,volume-nocopy", VolumeRequest("volume", "db", "/b", False, ("nocopy",))),
        ("target=/b", VolumeRequest("volume", "", "/b")),
        ("type=tmpfs,target=/b,tmpfs-size=1m,tmpfs-mode=1770",
         VolumeRequest("tmpfs", "", "/b", False, ("size=1048576", "mode=1770"))),
        ('type=bind,"source=/a,b",target=/c', VolumeRequest("bind", "/a,b", "/c")),
    ],
)  # fmt: skip
def test_a_mount_says_it_in_words(text: str, expected: VolumeRequest) -> None:
    assert values.mount(text, CWD) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("type=bind,source=/a", "target is required"),
        ("type=bind,target=/a", "source is required for a bind mount"),
        ("type=bind,source=a,target=/a", "invalid mount path: 'a' mount path must be absolute"),
        ("type=nfs,target=/a", "invalid mount type: nfs"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("target=/a,foo=1", "unexpected key 'foo' in 'foo=1'"),
        ("target=/a,readonly=maybe", "invalid value for readonly: maybe"),
        ("type=bind,source=/a,target=/a,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        ("type=tmpfs,source=a,target=/a", "cannot specify source for a tmpfs"),
        ("type=tmpfs,target=/a,tmpfs-size=lots", "invalid value for tmpfs-size: lots"),
        ("type=tmpfs,target=/a,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("", "target is required"),
    ],
)
def test_a_bad_mount_is_refused(text: str, why: str) -> None:
    assert refused(values.mount, text, CWD) == f'invalid argument "{text}" for "--mount" flag: {why}'


def test_a_tmpfs_has_the_options_of_the_file_system() -> None:
    assert values.tmpfs("/run") == VolumeRequest("tmpfs", "", "/run")
    assert values.tmpfs("/run:ro,size=64k,mode=1777,exec") == VolumeRequest(
        "tmpfs", "", "/run", True, ("size=65536", "mode=1777", "exec")
    )
    assert "invalid tmpfs option 'foo'" in refused(values.tmpfs, "/run:foo")
    assert "must be absolute" in refused(values.tmpfs, "run")


def test_no_target_comes_twice() -> None:
    assert refused(values.volumes, ["/a:/x"], ["target=/x/"], [], CWD) == "Duplicate mount point: /x"
    assert [v.target for v in values.volumes(["/a:/x"], ["target=/y"], ["/z"], CWD)] == ["/x", "/y", "/z"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("10", 10), ("1k", 1024), ("1.5g", 3 << 29), ("64MB", 64 << 20), ("2GiB", 2 << 30), (".5k", 512)],
)
def test_a_size_is_binary(text: str, expected: int) -> None:
    assert values.size(text) == expected


@pytest.mark.parametrize("text", ["", "k", "1x", "1kk", "-1", "1.2.3", "1e3", "١", "1bb", "1ib", "b"])
def test_a_bad_size_is_refused(text: str) -> None:
    assert refused(values.size, text) == f"invalid size: '{text}'"


@given(st.text(max_size=20), st.text(max_size=20))
def test_nothing_but_a_usage_error_comes_of_nonsense(one: str, other: str) -> None:
    for call in (
        lambda: values.volume(one, CWD),
        lambda: values.mount(f"type=bind,{one}={other},target=/x", CWD),
        lambda: values.mount(one, CWD),
        lambda: values.tmpfs(f"/x:{one}={other}"),
        lambda: values.size(one),
        lambda: values.env_file("f", one.encode("utf-8", "surrogatepass"), {}),
    ):
        try:
            call()
        except UsageError:
            pass
