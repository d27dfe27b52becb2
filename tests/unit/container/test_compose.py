"""From request and image to the specification."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.container import compose, spec
from rootless.container.compose import Confinement, Identity, ImageDefaults, Surroundings
from rootless.container.request import RunRequest, VolumeRequest
from rootless.container.spec import Spec
from rootless.errors import UsageError

#: No deadline on a busy machine; no database where the tests may not write.
QUIET = settings(deadline=None, database=None, max_examples=50)
AROUND = Surroundings(
    hostname="h",
    network="none",
    files=(("/etc/hosts", "/store/hosts"),),
    uid_mappings=((0, 0, 1),),
    gid_mappings=((0, 0, 1),),
    tty_gid=None,
)


def composed(image: ImageDefaults | None = None, around: Surroundings = AROUND, **wanted: Any) -> Spec:
    request = RunRequest("image", **{"command": ("true",), **wanted})
    confinement = Confinement(("CAP_CHOWN",), ("/proc/kcore",), ("/proc/sys",), "default")
    return compose.compose(request, image or ImageDefaults(), Identity(0, 0, (0,), "/root"), confinement, around)


@pytest.mark.parametrize(
    ("image", "entrypoint", "given", "executed"),
    [
        ((("/e",), ("c",)), None, (), ("/e", "c")),
        ((("/e",), ("c",)), None, ("a", "b"), ("/e", "a", "b")),
        ((("/e",), ("c",)), "/x", (), ("/x",)),
        ((("/e",), ("c",)), "/x", ("a",), ("/x", "a")),
        ((("/e",), ("c",)), "", ("a",), ("a",)),
        (((), ("c",)), None, (), ("c",)),
        ((("/e",), ()), None, (), ("/e",)),
    ],
)
def test_entrypoint_and_command_are_dockers(
    image: tuple[tuple[str, ...], tuple[str, ...]],
    entrypoint: str | None,
    given: tuple[str, ...],
    executed: tuple[str, ...],
) -> None:
    defaults = ImageDefaults(entrypoint=image[0], command=image[1])
    assert compose.command(RunRequest("image", given, entrypoint=entrypoint), defaults) == executed


@pytest.mark.parametrize("entrypoint", [None, ""])
def test_nothing_to_run_is_refused(entrypoint: str | None) -> None:
    with pytest.raises(UsageError, match="no command specified"):
        compose.command(RunRequest("image", entrypoint=entrypoint), ImageDefaults())


def environment(*given: str, image: tuple[str, ...] = (), tty: bool = False) -> dict[str, str]:
    request = RunRequest("image", environment=given, tty=tty)
    made = compose.environment(request, ImageDefaults(environment=image), "h", "/home/me")
    return dict(item.split("=", 1) for item in made)


def test_the_environment_is_built_up() -> None:
    assert environment() == {"PATH": compose.DEFAULT_PATH, "HOSTNAME": "h", "HOME": "/home/me"}
    assert environment(tty=True)["TERM"] == "xterm"
    assert environment(image=("PATH=/x", "A=1")) == {"PATH": "/x", "HOSTNAME": "h", "A": "1", "HOME": "/home/me"}


def test_later_wins_and_a_bare_key_removes() -> None:
    found = environment("A=2", "B=x=y", "C=", "GONE", image=("A=1", "GONE=1", "HOME=/image"))
    assert (found["A"], found["B"], found["C"], found["HOME"]) == ("2", "x=y", "", "/image")
    assert "GONE" not in found


@QUIET
@given(st.dictionaries(st.text("ABC", min_size=1, max_size=3), st.text(max_size=5), max_size=5))
def test_what_is_set_is_set(wanted: dict[str, str]) -> None:
    found = environment(*(f"{key}={value}" for key, value in wanted.items()))
    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.parametrize("workdir", ["relative", "./x", "C:\\x"])
def test_a_working_directory_is_absolute(workdir: str) -> None:
    with pytest.raises(UsageError, match="needs to be an absolute path"):
        composed(workdir=workdir)


def test_the_working_directory_is_the_requests_then_the_images() -> None:
    image = ImageDefaults(workdir="/image")
    assert composed().process.cwd == "/"
    assert composed(image).process.cwd == "/image"
    assert composed(image, workdir="/mine").process.cwd == "/mine"


def bind(source: str, target: str, **more: Any) -> VolumeRequest:
    return VolumeRequest("bind", source, target, **more)


def destinations(made: Spec) -> list[str]:
    return [mount.destination for mount in made.mounts]


def test_what_is_mounted_comes_after_what_is_below_it() -> None:
    volumes = (bind("/a", "/x/y/z"), bind("/b", "/x"), bind("/c", "/dev/shm/x"))
    order = destinations(composed(volumes=volumes))
    assert order.index("/x") < order.index("/x/y/z")
    assert order.index("/dev") < order.index("/dev/shm") < order.index("/dev/shm/x")
    assert order.index("/proc") < order.index("/x")


def test_a_target_is_normal() -> None:
    assert destinations(composed(volumes=(bind("/a", "/x/../y//z/"),)))[-1] == "/y/z"


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ((bind("/a", "x"),), "mount path must be absolute"),
        ((bind("/a", "/"),), "not '/'"),
        ((bind("/a", "/x/.."),), "not '/'"),
        ((bind("/a", "/x"), bind("/b", "/x/")), "Duplicate mount point: /x"),
    ],
)
def test_targets_that_cannot_be(volumes: tuple[VolumeRequest, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        composed(volumes=volumes)


def mounted(target: str, **wanted: Any) -> tuple[str, ...]:
    (found,) = [mount for mount in composed(**wanted).mounts if mount.destination == target]
    return found.options


def test_options_of_binds_and_tmpfs() -> None:
    assert "ro" in mounted("/x", volumes=(bind("/a", "/x", readonly=True),))
    assert "ro" not in mounted("/x", volumes=(bind("/a", "/x"),))
    plain = VolumeRequest("tmpfs", "", "/x")
    assert mounted("/x", volumes=(plain,)) == ("nosuid", "nodev", "noexec")
    special = VolumeRequest("tmpfs", "", "/x", options=("exec", "size=1m", "rw"))
    assert mounted("/x", volumes=(special,)) == ("nosuid", "nodev", "size=1m")


def test_sys_is_writable_for_the_privileged_only() -> None:
    assert "ro" in mounted("/sys")
    assert "rw" in mounted("/sys", privileged=True)


def test_the_terminals_group_is_given_where_it_is_mapped() -> None:
    assert "gid=5" not in mounted("/dev/pts")
    (pts,) = [m for m in composed(around=AROUND._replace(tty_gid=5)).mounts if m.destination == "/dev/pts"]
    assert "gid=5" in pts.options


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile=1", ("RLIMIT_NOFILE", 1, 1)),
        ("nofile=1:2", ("RLIMIT_NOFILE", 1, 2)),
        ("core=0:-1", ("RLIMIT_CORE", 0, -1)),
        ("core=-1", ("RLIMIT_CORE", -1, -1)),
    ],
)
def test_limits_are_read(text: str, limit: tuple[str, int, int]) -> None:
    assert composed(ulimits=(text,)).process.rlimits == (limit,)


@pytest.mark.parametrize("text", ["nofile", "nosuch=1", "nofile=x", "nofile=2:1", "core=-1:1", "nofile="])
def test_limits_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="ulimit"):
        composed(ulimits=(text,))


def test_namespaces_follow_network_and_ids() -> None:
    own = composed()
    assert all(own.namespace(kind) for kind in ("user", "mount", "pid", "ipc", "uts", "cgroup", "network"))
    assert composed(around=AROUND._replace(network="host")).namespace("network") is None
    assert composed(around=AROUND._replace(uid_mappings=(), gid_mappings=())).namespace("user") is None
    joined = composed(around=AROUND._replace(network="container:abc")).namespace("network")
    assert joined is not None
    assert joined.path


def test_the_document_comes_back_as_it_was(tmp_path: Any) -> None:
    made = composed(
        tty=True, init=True, read_only=True, ulimits=("nofile=1:2",), volumes=(bind("/a", "/x", readonly=True),)
    )
    assert spec.from_json(spec.to_json(made)) == made
    spec.save(str(tmp_path), made)
    assert spec.load(str(tmp_path)) == made
