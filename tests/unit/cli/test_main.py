"""From the command line to the engine and back to an exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rootless.cli.main import main
from rootless.errors import CommandNotFound, Conflict, HostUnsupported, NotFound
from tests.unit.cli.engine_fakes import ContainerView, FakeEngine, ImageView

_ROOT = Path(__file__).parents[3]
Capture = pytest.CaptureFixture[str]


def test_run_hands_its_request_to_the_engine(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "there")
    engine.code = 7
    line = "run --rm -i -e HERE -e GONE --name x -v .:/src:ro --cap-add NET_ADMIN --require ids=range,net=tun "
    line += "busybox ls -l"
    assert main(line.split()) == 7
    [(verb, request)] = engine.calls
    assert verb == "run"
    assert request.image == "busybox"
    assert request.command == ("ls", "-l")
    assert (request.remove, request.interactive, request.tty, request.detach) == (True, True, False, False)
    assert request.environment == ("HERE=there", "GONE")
    assert request.volumes[0].source == os.getcwd()
    assert request.volumes[0].readonly
    assert request.cap_add == ("NET_ADMIN",)
    assert request.require == ("ids=range", "net=tun")
    assert (request.pull, request.detach_keys, request.sig_proxy) == ("missing", "ctrl-p,ctrl-q", True)
    assert request.verbose is False


def test_run_without_options_is_the_default_request(engine: FakeEngine) -> None:
    from rootless.container.request import RunRequest

    assert main(["run", "busybox"]) == 0
    assert engine.calls == [("run", RunRequest("busybox"))]


def test_v_before_the_verb_is_verbose_and_after_it_a_volume(engine: FakeEngine) -> None:
    assert main(["-v", "run", "-v", "/data", "busybox"]) == 0
    request = engine.calls[0][1]
    assert request.verbose
    assert [volume.target for volume in request.volumes] == ["/data"]


def test_env_files_come_before_e(engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=file\nB=file\n")
    assert main(["run", "-e", "A=flag", "--env-file", str(file), "busybox"]) == 0
    assert engine.calls[0][1].environment == ("A=file", "B=file", "A=flag")


def test_rootfs_makes_the_directory_absolute(engine: FakeEngine, tmp_path: Path, capsys: Capture) -> None:
    assert main(["run", "--rootfs", f"{tmp_path}/", "true"]) == 0
    assert engine.calls[0][1].image == str(tmp_path)
    assert main(["run", "--rootfs", "/no/such", "true"]) == 125
    assert "'/no/such' is not a directory" in capsys.readouterr().err


def test_create_prints_the_id(engine: FakeEngine, capsys: Capture) -> None:
    assert main(["container", "create", "--rm", "busybox"]) == 0
    assert capsys.readouterr().out == "c" * 64 + "\n"


def test_errors_of_run_point_to_its_help(engine: FakeEngine, capsys: Capture) -> None:
    engine.failure = HostUnsupported("user namespaces are \x1b[31moff", hint="sudo sysctl x=1")
    assert main(["run", "busybox"]) == 125
    assert capsys.readouterr().err == (
        "rl: user namespaces are \\x1b[31moff\nhint: sudo sysctl x=1\n\nRun 'rl run --help' for more information\n"
    )
    engine.failure = CommandNotFound('exec: "nope": executable file not found in $PATH')
    assert main(["run", "busybox", "nope"]) == 127


def test_errors_of_other_verbs_are_a_line_and_exit_code_1(engine: FakeEngine, capsys: Capture) -> None:
    engine.failure = Conflict("the name is taken")
    assert main(["create", "busybox"]) == 1
    assert capsys.readouterr().err == "rl: the name is taken\n"


@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("rn", 1, "rl: unknown command: rl rn\nhint: did you mean run?\n\nRun 'rl --help' for more information\n"),
        ("container rn x", 1, "rl: unknown command: rl container rn\nhint: did you mean container run?\n"),
        ("-x ps", 125, "rl: unknown flag: -x\n\nUsage:  rl [OPTIONS] COMMAND\n\nRun 'rl --help'"),
        ("ps --al", 125, "rl: unknown flag: --al\nhint: did you mean --all?\n\nUsage:  rl ps [OPTIONS]\n"),
        ("create --x", 125, "rl: unknown flag: --x\n"),
        ("run", 1, "rl: 'rl run' requires at least 1 argument\n\nUsage:  rl run [OPTIONS] IMAGE [COMMAND] [ARG...]\n"),
        ("run --pull maybe x", 125, "rl: invalid pull option: 'maybe': must be one of"),
        ("help rn", 1, "rl: unknown command: rl rn\n"),
    ],
)
def test_a_wrong_line_is_told(line: str, code: int, err: str, engine: FakeEngine, capsys: Capture) -> None:
    assert main(line.split()) == code
    assert capsys.readouterr().err.startswith(err)
    assert engine.calls == []


def test_ps_prints_ids_or_the_table(engine: FakeEngine, capsys: Capture) -> None:
    engine.views = (ContainerView("a" * 64, "old", created=1), ContainerView("b" * 64, "new", created=2))
    assert main(["ps", "-aq"]) == 0
    assert main(["container", "ls", "-q", "--no-trunc"]) == 0
    assert capsys.readouterr().out == f"{'b' * 12}\n{'a' * 12}\n{'b' * 64}\n{'a' * 64}\n"
    assert engine.calls == [("list", True), ("list", False)]


def test_each_name_is_tried_and_printed(engine: FakeEngine, capsys: Capture) -> None:
    assert main(["stop", "-t", "3", "web", "nobody", "db"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "web\ndb\n"
    assert captured.err == "rl: No such container: nobody\n"
    assert engine.calls[0] == ("stop", "web", 3, None)


def test_start_says_which_failed(engine: FakeEngine, capsys: Capture) -> None:
    assert main(["start", "web", "no1", "no2"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "web\n"
    assert captured.err.endswith("Error: failed to start containers: no1, no2\n")
    engine.code = 3
    assert main(["start", "-ai", "web"]) == 3
    assert main(["start", "-a", "web", "db"]) == 1


def test_forced_removal_of_what_is_gone_succeeds_with_a_word(engine: FakeEngine, capsys: Capture) -> None:
    assert main(["rm", "nobody"]) == 1
    assert main(["rm", "-f", "nobody", "web"]) == 0
    assert main(["rmi", "-f", "nobody"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "web\n"
    assert captured.err == "rl: No such container: nobody\n" * 3


def test_wait_prints_exit_codes(engine: FakeEngine, capsys: Capture) -> None:
    engine.code = 143
    assert main(["wait", "a", "b"]) == 0
    assert capsys.readouterr().out == "143\n143\n"


def test_logs_passes_times_in_nanoseconds(engine: FakeEngine) -> None:
    assert main(["logs", "-f", "--tail", "5", "--since", "100", "-t", "web"]) == 0
    how = engine.calls[0][2]
    assert how == {
        "follow": True, "tail": 5, "since": 100 * 10**9, "until": None, "timestamps": True, "stdout": 1, "stderr": 2
    }  # fmt: skip


def test_exec_passes_the_command_on(engine: FakeEngine) -> None:
    engine.code = 4
    assert main(["exec", "-u", "me", "-w", "/x", "-e", "A=1", "web", "ls", "-l"]) == 4
    request = engine.calls[0][1]
    assert (request.container, request.command, request.user, request.workdir) == ("web", ("ls", "-l"), "me", "/x")
    assert request.environment == ("A=1",)


def test_attach_returns_the_containers_exit_code(engine: FakeEngine) -> None:
    engine.code = 5
    assert main(["attach", "--no-stdin", "--sig-proxy=false", "web"]) == 5
    assert engine.calls == [("attach", "web", False, False, "ctrl-p,ctrl-q")]


def test_inspect_prints_an_array_and_what_is_missing(engine: FakeEngine, capsys: Capture) -> None:
    engine.things = {"web": {"Id": "x", "State": {"ExitCode": 3, "Running": False}}}
    assert main(["inspect", "web", "gone"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith('[\n    {\n        "Id": "x",\n')
    assert captured.err == "Error: No such object: gone\n"
    assert main(["inspect", "gone"]) == 1
    assert capsys.readouterr().out == "[]\n"
    assert main(["image", "inspect", "gone"]) == 1
    assert capsys.readouterr().err == "Error: No such image: gone\n"
    assert main(["container", "inspect", "-f", "{{.State.ExitCode}} {{json .State}}", "web"]) == 0
    assert capsys.readouterr().out == '3 {"ExitCode":3,"Running":false}\n'


@pytest.mark.parametrize(
    ("template", "out"),
    [
        ("{{.}}", "map[A:[1 true x] B:map[C:<nil>]]"),
        ("{{.B.C}}\\t{{ len .A }}", "<nil>\t3"),
        ('{{index .B "C"}}{{index .A 2}}', "<nil>x"),
        ("json", '{"A":[1,true,"x"],"B":{"C":null}}'),
    ],
)
def test_simple_templates_work(template: str, out: str, engine: FakeEngine, capsys: Capture) -> None:
    engine.things = {"x": {"A": [1, True, "x"], "B": {"C": None}}}
    assert main(["inspect", "-f", template, "x"]) == 0
    assert capsys.readouterr().out == out + "\n"


@pytest.mark.parametrize("template", ["{{range .A}}x{{end}}", "{{.Nope}}", "{{.A", "{{json}}", "{{}}"])
def test_other_templates_are_refused_clearly(template: str, engine: FakeEngine, capsys: Capture) -> None:
    engine.things = {"x": {"A": [1]}}
    assert main(["inspect", "-f", template, "x"]) == 1
    assert capsys.readouterr().err.startswith("rl: template parsing error: ")


def test_images_and_tags_and_pulls(engine: FakeEngine, capsys: Capture) -> None:
    engine.image_views = (ImageView("docker.io/library/a:1", "a", "1", "sha256:" + "1" * 64),)
    assert main(["images", "-q", "--no-trunc"]) == 0
    assert main(["pull", "-q", "a"]) == 0
    assert main(["image", "pull", "--platform", "linux/arm64", "a"]) == 0
    assert main(["tag", "a", "b"]) == 0
    assert main(["rmi", "a"]) == 0
    assert capsys.readouterr().out == (f"sha256:{'1' * 64}\n" + "docker.io/library/a:latest\n" * 2 + "Untagged: a\n")
    assert ("pull", "a", "linux/arm64", False) in engine.calls


def test_a_password_comes_from_stdin(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    assert main(["login", "-u", "me", "--password-stdin", "reg.example"]) == 0
    assert engine.calls == [("login", "reg.example", "me", "secret")]
    assert main(["login", "--password-stdin"]) == 1
    assert main(["login", "-u", "me"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "Login Succeeded\n"
    assert "non TTY device" in captured.err
    assert main(["login", "-u", "me", "-p", "x"]) == 0
    assert "WARNING! Using --password via the CLI is insecure" in capsys.readouterr().err


def test_an_interrupt_is_quiet(engine: FakeEngine, capfd: pytest.CaptureFixture[str]) -> None:
    engine.failure = KeyboardInterrupt()
    assert main(["wait", "x"]) == 130
    assert capfd.readouterr().err == ""


def test_a_full_disk_is_no_traceback(engine: FakeEngine, capsys: Capture) -> None:
    engine.failure = OSError(errno.ENOSPC, "No space left on device", "/data/rl/tmp/x")
    assert main(["run", "x"]) == 125
    assert main(["create", "x"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("rl: '/data/rl/tmp/x': no space left on device\nhint: free some space")
    assert "Traceback" not in err


def test_a_bug_is_one_line_and_a_file(
    engine: FakeEngine, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RL_RUNTIME", str(tmp_path / "runtime"))
    monkeypatch.delenv("RL_DEBUG", raising=False)
    engine.failure = ZeroDivisionError("division by zero")
    assert main(["run", "-e", "SECRET=x", "busybox"]) == 125
    assert main(["create", "busybox"]) == 1
    [kept] = (tmp_path / "runtime").iterdir()
    err = capsys.readouterr().err
    assert (
        err
        == (
            "rl: this is a bug in rl: ZeroDivisionError: division by zero\n"
            f"hint: the traceback is in {kept}; RL_DEBUG=1 shows it here\n"
        )
        * 2
    )
    text = kept.read_text()
    assert "Traceback" in text
    assert "SECRET" not in text
    monkeypatch.setenv("RL_DEBUG", "1")
    assert main(["create", "busybox"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_missing_things_have_their_hints_escaped(engine: FakeEngine, capsys: Capture) -> None:
    engine.failure = NotFound("No such container: a\rb", hint="rl ps -a")
    assert main(["logs", "x"]) == 1
    assert capsys.readouterr().err == "rl: No such container: a\\rb\nhint: rl ps -a\n"


@pytest.mark.parametrize("line", ["", "--help", "help", "run --help", "help run", "--help run", "container", "ps -h"])
def test_help_is_printed_on_stdout(line: str, engine: FakeEngine, capsys: Capture) -> None:
    assert main(line.split()) == 0
    captured = capsys.readouterr()
    assert "Usage: rl" in captured.out
    assert captured.err == ""
    assert engine.calls == []


def test_help_of_run_names_every_option_and_the_examples(capsys: Capture) -> None:
    from rootless.cli import table

    main(["run", "--help"])
    out = capsys.readouterr().out
    for option in table.load("run").VERB.options:
        for flag in option.flags.split():
            assert flag in out
    assert "rl run --rm -it debian bash" in out
    assert "[SOURCE:]TARGET[:ro]" in out


def _python(code: str, stdout: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=_ROOT,
        stdout=stdout,  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


_PS = """
import sys
from tests.unit.cli.engine_fakes import ContainerView, FakeEngine
engine = FakeEngine()
engine.views = tuple(ContainerView(f"{i:064}", "caf\\u00e9\\udcff") for i in range(20000))
sys.modules["rootless.engine.containers"] = engine
from rootless.cli.main import entry
sys.argv = ["rl", "ps"]
entry()
"""


def test_a_reader_that_leaves_early_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = _python(_PS, write)
    finally:
        os.close(write)
    assert done.stderr == ""
    assert done.returncode == 141


def test_a_full_stdout_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = _python(_PS, full)
    assert done.stderr.startswith("rl: no space left on device\n")
    assert done.returncode == 1
    assert "Exception ignored" not in done.stderr


def test_names_print_on_terminals_that_know_ascii_only() -> None:
    done = _python(_PS, subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "caf\\xe9\\xff" in done.stdout
