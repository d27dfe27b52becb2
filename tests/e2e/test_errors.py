"""What goes wrong is told in Docker's words with the reason here and what to type next; nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import give_away
from tests.support import tools
from tests.support.box import Box
from tests.support.home import Home, Result, Rl
from tests.support.registry import Registry
from tests.support.users import Me


def refused(box: Box, result: Result, code: int, *messages: str) -> None:
    """The command said this, and left neither a trace nor a traceback."""
    assert result.code == code, result
    for message in messages:
        assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "bug in rl" not in result.stderr
    assert result.stdout == ""
    assert box.left_over() == []


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("nosuch",), 127, 'exec: "nosuch": executable file not found in $PATH'),
        (("/nosuch",), 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        (("/etc/passwd/nosuch",), 127, "/etc/passwd/nosuch"),
        (("/etc",), 126, 'exec: "/etc": is a directory: permission denied'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied'),
        (("",), 127, 'exec: "": executable file not found in $PATH'),
    ],
    ids=["name", "path", "below a file", "directory", "not executable", "empty"],
)
def test_a_command_that_cannot_be_executed(box: Box, command: tuple[str, ...], code: int, message: str) -> None:
    result = box.run("busybox", *command)
    refused(box, result, code, message)


def test_such_a_container_without_rm_stays_and_says_why(box: Box) -> None:
    result = box("run", "--name", "one", "--network", "none", "busybox", "nosuch")
    assert result.code == 127
    found = box.inspect("one")["State"]
    assert (found["Status"], found["ExitCode"]) == ("created", 127)
    assert "executable file not found" in found["Error"]
    assert box("start", "one").code == 1
    assert box.ok("rm", "one") == "one"


@pytest.fixture
def programs(tmp_path: Path, container_root: tuple[int, int]) -> Path:
    """Files that look like programs and are none for this machine."""
    made = tmp_path / "programs"
    made.mkdir()
    with open(tools.find("busybox"), "rb") as file:
        header = bytearray(file.read(4096))
    header[18:20] = (0xF3).to_bytes(2, "little")  # EM_RISCV (elf.h)
    contents = {
        "riscv": bytes(header),
        "noline": b"echo a script without a first line\n",
        "nointerpreter": b"#!/no/such/interpreter\n",
        "empty": b"",
    }
    for name, content in contents.items():
        (made / name).write_bytes(content)
        (made / name).chmod(0o755)
    give_away(made, container_root)
    return made


@pytest.mark.parametrize(
    ("name", "code", "messages"),
    [
        ("riscv", 126, ("exec format error", "it is no program for this machine", os.uname().machine)),
        ("noline", 126, ("exec format error", "#!")),
        ("empty", 126, ("exec format error",)),
        ("nointerpreter", 127, ("no such file or directory", "interpreter")),
    ],
)
def test_a_file_that_is_no_program_here(
    box: Box, programs: Path, name: str, code: int, messages: tuple[str, ...]
) -> None:
    refused(box, box.run("-v", f"{programs}:/p", "busybox", f"/p/{name}"), code, *messages)


def test_an_image_of_another_architecture_says_so(box: Box, registry: Registry) -> None:
    """That image lies about its platform: its programs are this machine's, and run."""
    reference = registry.reference("busybox:multi")
    other = "arm64" if os.uname().machine == "x86_64" else "amd64"
    result = box("run", "--rm", "-q", "--network", "none", "--platform", f"linux/{other}", reference, "true")
    assert result.code in (0, 126)
    box.ok("rmi", "-f", reference)


@pytest.mark.parametrize(
    ("image", "messages"),
    [
        ("UPPER", ("invalid reference format: repository name (library/UPPER) must be lowercase",)),
        ("a b", ("invalid reference format",)),
        ("x:", ("invalid reference format",)),
        ("busybox@sha256:123", ("invalid",)),
        ("", ("invalid reference format",)),
    ],
    ids=["upper case", "space", "no tag", "digest", "empty"],
)
def test_a_reference_that_is_none(box: Box, image: str, messages: tuple[str, ...]) -> None:
    refused(box, box.run(image, "true"), 125, *messages)


def test_an_unknown_image(box: Box, registry: Registry) -> None:
    reference = registry.reference("nosuch:latest")
    result = box.run(reference, "true")
    refused(box, result, 125, f"Unable to find image '{reference}' locally")
    assert "manifest" in result.stderr or "not found" in result.stderr or "does not exist" in result.stderr


def test_an_unknown_image_that_is_not_to_be_pulled(box: Box) -> None:
    refused(
        box, box.run("--pull", "never", "nosuch", "true"), 125, "No such image: nosuch:latest", "hint: rl pull nosuch"
    )


def test_a_wrong_password(home: Home, rl: Rl, registry: Registry, namespaces: None) -> None:
    home.trust(registry)
    result = rl("login", "-u", registry.user, "--password-stdin", registry.host, stdin="wrong")
    assert result.code == 1
    assert "unauthorized" in result.stderr.lower() or "401" in result.stderr
    result = rl("run", "--rm", registry.reference("busybox"), "true")
    assert result.code == 125
    assert "Traceback" not in result.stderr
    assert "rl login" in result.stderr


def test_a_registry_that_is_not_there(box: Box) -> None:
    result = box.run("127.0.0.1:1/nothing", "true")
    assert result.code == 125
    assert "127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.stderr
    assert box.left_over() == []


@pytest.mark.parametrize("policy", ["always", "missing", "never"])
def test_pull_policies(box: Box, registry: Registry, policy: str) -> None:
    """``always`` asks the registry also for what is here; the others do not."""
    reference = registry.reference("busybox:latest")
    before = len(registry.requests())
    assert box.out("-q", "--pull", policy, reference, "echo", "ran") == "ran"
    asked = registry.requests()[before:]
    assert bool(asked) == (policy == "always")


def test_a_pull_policy_that_is_none(box: Box) -> None:
    refused(box, box.run("--pull", "sometimes", "busybox", "true"), 125, "sometimes")


def test_a_name_that_is_taken(box: Box) -> None:
    id_ = box.detached("--name", "one", "busybox", "true")
    result = box.run("--name", "one", "busybox", "true")
    assert result.code == 125
    assert (
        f'Conflict. The container name "/one" is already in use by container "{id_}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    ) in result.stderr
    assert box.ids() == [id_]


@pytest.mark.parametrize("name", ["a", "-x", "a/b", "a b", "ä1", ".hidden"])
def test_a_name_that_is_none(box: Box, name: str) -> None:
    result = box.run(f"--name={name}", "busybox", "true")
    refused(box, result, 125, f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def test_a_working_directory_that_is_a_file(box: Box) -> None:
    result = box.run("-w", "/etc/passwd", "busybox", "true")
    assert result.code in (125, 126, 127)
    assert "/etc/passwd" in result.stderr
    assert "Traceback" not in result.stderr
    assert box.left_over() == []


def test_a_working_directory_that_may_not_be_entered(box: Box) -> None:
    result = box.run("-w", "/root", "-u", "4242", "--cap-drop", "ALL", "busybox", "true")
    if result.code:  # with one id, its user owns every file
        refused(box, result, 126, "cannot enter the working directory '/root'", "hint: ")


def test_a_hostname_that_is_too_long(box: Box) -> None:
    result = box.run("--hostname", "h" * 65, "busybox", "true")
    assert result.code == 125
    assert "Traceback" not in result.stderr
    assert "bug in rl" not in result.stderr
    assert box.left_over() == []


def test_an_argument_list_that_is_too_long(box: Box) -> None:
    # One argument may have 128 KB (execve(2), MAX_ARG_STRLEN), and all together a quarter of the stack.
    words = ["x" * 100_000] * 15
    result = box.run("busybox", "true", *words)
    assert result.code in (0, 126)
    assert "Traceback" not in result.stderr


def test_a_store_that_cannot_be_made(box: Box, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = box.run("busybox", "true", env={"RL_DATA": f"{tmp_path}/file/below"})
    assert result.code == 125
    assert f"{tmp_path}/file/below" in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_store_of_somebody_else(box: Box, me: Me) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    result = box.run("busybox", "true", env={"RL_DATA": "/usr/share"})
    assert result.code == 125
    assert "belongs to uid 0, not to you" in result.stderr


def test_a_home_that_cannot_be_written(box: Box, tmp_path: Path, me: Me) -> None:
    if me.is_root:
        pytest.skip("needs an ordinary user")
    (tmp_path / "home").mkdir(mode=0o500)
    result = box.run(
        "busybox", "true", env={"HOME": f"{tmp_path}/home", "RL_DATA": "", "RL_CONFIG": "", "RL_RUNTIME": ""}
    )
    assert result.code == 125
    assert "Permission denied" in result.stderr
    assert "RL_DATA" in result.stderr


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "rm", "wait", "logs", "attach"])
def test_an_unknown_container(box: Box, verb: str) -> None:
    result = box(verb, "nosuch")
    assert result.code == 1
    assert "No such container: nosuch" in result.stderr


def test_run_ends_with_where_to_read_on(box: Box) -> None:
    assert box.run("--name", "a", "busybox", "true").stderr.endswith("\n\nRun 'rl run --help' for more information\n")


def test_a_storage_driver_that_is_none(box: Box) -> None:
    refused(box, box.run("--storage-driver", "nosuch", "busybox", "true"), 125, "nosuch")


def test_tty_and_detach_need_no_terminal(box: Box) -> None:
    id_ = box.detached("-t", "busybox", "tty")
    assert box.ok("wait", id_) == "0"
