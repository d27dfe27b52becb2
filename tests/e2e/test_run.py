"""``rl run``: what is executed, with which environment, and which exit code comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.box import Box


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("false",), 1),
        (("sh", "-c", "exit 42"), 42),
        (("sh", "-c", "exit 255"), 255),
        (("sh", "-c", "kill -KILL $$"), 137),
        (("sh", "-c", "sh -c 'kill -TERM $$'"), 143),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_exit_code_is_the_commands(box: Box, command: tuple[str, ...], code: int) -> None:
    # A pid 1 cannot kill itself by a signal it has no handler for, so the shell is a child of --init.
    assert box.run("--init", "busybox", *command).code == code


def test_standard_output_and_error_stay_apart(box: Box) -> None:
    result = box.run("busybox", "sh", "-c", "echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_without_a_network_option_one_line_says_that_there_is_none(box: Box) -> None:
    result = box("run", "--rm", "busybox", "true")
    assert result.stderr == "rl: network: none (loopback only); --network host shares the host's\n"


def test_the_images_command_runs_where_none_is_given(box: Box) -> None:
    assert box.out("-i", "busybox", stdin="echo hello from sh\n") == "hello from sh"


def test_entrypoint_replaces_the_images_and_clears_its_command(box: Box) -> None:
    assert box.out("--entrypoint", "echo", "busybox", "a", "b c") == "a b c"
    assert box.out("--entrypoint", "echo", "busybox") == ""


def test_an_empty_entrypoint_needs_a_command(box: Box) -> None:
    assert box.out("--entrypoint", "", "busybox", "echo", "hello") == "hello"
    result = box.run("--entrypoint", "", "busybox")
    assert result.code == 125
    assert "no command specified" in result.stderr


def test_arguments_arrive_as_they_were_given(box: Box) -> None:
    words = ("a b", "", "$HOME", "-x", "--rm", "ü", "two\nlines")
    printed = box.out("busybox", "sh", "-c", 'for w; do printf "[%s]" "$w"; done', "sh", *words)
    assert printed == "".join(f"[{word}]" for word in words)


# ---- environment


def environment(box: Box, *options: str, **more: dict[str, str]) -> dict[str, str]:
    lines = box.out(*options, "busybox", "env", **more).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_environment_is_dockers(box: Box) -> None:
    found = environment(box, "--hostname", "h")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert found == {"PATH": path, "HOSTNAME": "h", "HOME": "/root"}


def test_the_callers_environment_does_not_leak(box: Box) -> None:
    assert "SECRET" not in environment(box, env={"SECRET": "1"})


def test_a_terminal_adds_term(box: Box) -> None:
    assert environment(box, "-t")["TERM"].strip() == "xterm"


def test_home_follows_the_user(box: Box) -> None:
    assert environment(box, "-u", "app")["HOME"] == "/home/app"
    assert environment(box, "-u", "12345")["HOME"] == "/"


def test_variables_are_set_copied_and_removed(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# remark\n\nA=from file\nB=  kept  \n  C=leading blanks go\nCOPIED\n")
    found = environment(
        box, "--env-file", str(file), "-e", "A=from option", "-e", "GIVEN", "-e", "MISSING", "-e", "E=x=y",
        env={"GIVEN": "here", "COPIED": "too"},
    )  # fmt: skip
    assert found["A"] == "from option"
    assert found["B"] == "  kept  "
    assert found["C"] == "leading blanks go"
    assert (found["GIVEN"], found["COPIED"], found["E"]) == ("here", "too", "x=y")
    assert "MISSING" not in found


def test_a_bare_key_that_is_unset_removes_the_variable(box: Box) -> None:
    assert "HOME" in environment(box)
    assert "HOSTNAME" not in environment(box, "-e", "HOSTNAME")


def test_path_of_the_container_finds_the_command(box: Box) -> None:
    assert box.run("-e", "PATH=/nowhere", "busybox", "true").code == 127
    assert box.run("-e", "PATH=/nowhere:/bin", "busybox", "true").code == 0


# ---- working directory


def test_the_working_directory_is_made_where_it_is_missing(box: Box) -> None:
    assert box.sh("pwd; ls -A", "-w", "/made/for/me") == "/made/for/me"
    assert box.sh("pwd", "-w", "/tmp") == "/tmp"
    assert box.sh("pwd") == "/"


def test_a_relative_working_directory_is_refused(box: Box) -> None:
    result = box.run("-w", "relative", "busybox", "true")
    assert result.code == 125
    assert "the working directory 'relative' is invalid, it needs to be an absolute path" in result.stderr


# ---- name, cidfile, label, dry run


def test_a_name_and_a_label_are_kept(box: Box) -> None:
    id_ = box.asleep("--name", "web.1", "-l", "a=b", "-l", "bare")
    found = box.inspect("web.1")
    assert (found["Id"], found["Name"]) == (id_, "/web.1")
    assert found["Config"]["Labels"] == {"a": "b", "bare": ""}


def test_a_name_is_made_up_where_none_is_given(box: Box) -> None:
    name = box.inspect(box.asleep())["Name"]
    mood, _, person = name.removeprefix("/").partition("_")
    assert mood.isalpha()
    assert person.isalnum()


def test_the_cidfile_has_the_id(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    id_ = box.detached("--cidfile", str(file), "busybox", "true")
    assert file.read_text() == id_


def test_an_existing_cidfile_is_not_touched(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    file.write_text("precious")
    result = box.run("--cidfile", str(file), "busybox", "true")
    assert result.code == 125
    assert f"container ID file found, make sure the other container isn't running or delete {file}" in result.stderr
    assert file.read_text() == "precious"


def test_a_cidfile_in_a_missing_directory_leaves_no_container(box: Box, tmp_path: Path) -> None:
    result = box.run("--cidfile", str(tmp_path / "no/cid"), "busybox", "true")
    assert result.code == 125
    assert "Traceback" not in result.stderr
    assert box.left_over() == []


def test_a_dry_run_prints_and_does_nothing(box: Box) -> None:
    result = box("run", "--rm", "--dry-run", "busybox", "true")
    assert result.code == 0, result.stderr
    assert "Exec" in result.stdout
    assert box.left_over() == []


# ---- whose directory is the root


def test_a_directory_can_be_the_root_file_system(box: Box, rootfs: Path) -> None:
    assert box.out("--rootfs", str(rootfs), "sh", "-c", "echo hi > /written; cat /marker") == "the marker"
    assert (rootfs / "written").read_text() == "hi\n"


def test_a_rootfs_that_is_no_directory_is_refused(box: Box, tmp_path: Path) -> None:
    result = box.run("--rootfs", str(tmp_path / "missing"), "true")
    assert result.code == 125
    assert "is not a directory" in result.stderr


# ---- descriptors


def test_the_container_has_no_descriptors_but_its_three(box: Box) -> None:
    with open("/dev/null") as inherited:
        started = box.start("run", "--rm", "busybox", "ls", "/proc/self/fd", pass_fds=(inherited.fileno(),))
        listed, _ = started.communicate(timeout=20)
    assert listed.split() == [b"0", b"1", b"2", b"3"]  # 3 is the listing itself


def test_standard_input_is_empty_unless_asked_for(box: Box) -> None:
    assert box.out("busybox", "cat", stdin="not for you") == ""
    assert box.out("-i", "busybox", "cat", stdin="for you") == "for you"
