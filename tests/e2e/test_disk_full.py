"""A disk that is full, read-only, somebody else's or failing: a line that says so, and a store that still works."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import aftermath, fake_registry, killer
from tests.support.aftermath import Aftermath
from tests.support.cache import Unavailable
from tests.support.fake_registry import FakeRegistry
from tests.support.home import Home, Result, Rl
from tests.support.killer import Killer
from tests.support.users import Me

pytestmark = [pytest.mark.usefixtures("namespaces"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeRegistry]:
    """Serve the images that verify themselves as ``whole``."""
    try:
        layout = aftermath.images()
    except Unavailable as e:
        pytest.skip(f"the images cannot be made: {e}")
    with fake_registry.serve() as fake:
        fake.load(layout, "whole")
        yield fake


@pytest.fixture
def world(home: Home, server: FakeRegistry) -> Iterator[Aftermath]:
    if not killer.strace():
        pytest.skip("strace is not installed, or may not trace: sudo apt-get install strace")
    home.configure(insecure_registries=[server.host])
    with aftermath.adopting():
        yield Aftermath(Rl(home), f"{server.host}/whole:latest")


def is_explained(result: Result, code: int) -> None:
    """Insist on one line that says what is the matter, one that says what to do, and the exit code."""
    lines = result.stderr.splitlines()
    assert result.code == code, result
    (hint,) = (number for number, line in enumerate(lines) if line.startswith("hint: "))
    assert lines[hint - 1].startswith("rl: "), result
    assert "Traceback" not in result.stderr and "bug" not in result.stderr, result


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EROFS", "EIO"])
def test_any_write_of_a_run_fails(world: Aftermath, error: str) -> None:
    """Whichever write it is, run says why it cannot, or does without; nothing is left of it."""
    _fail_somewhere(world, error, 125, ("run", "--rm", "--name", "victim", world.reference, "true"), ())


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EROFS", "EIO"])
def test_any_write_of_a_pull_fails(world: Aftermath, server: FakeRegistry, error: str) -> None:
    """The same in any of the pull's processes."""
    other = f"{server.host}/whole:other"
    _fail_somewhere(world, error, 1, ("pull", "-q", other), ("rmi", other))


def _fail_somewhere(world: Aftermath, error: str, code: int, command: tuple[str, ...], undo: tuple[str, ...]) -> None:
    kills = Killer(world.rl, follow=True, changes=killer.CHANGES.replace("bind", "bind|openat"))
    for _ in range(2):  # what it finds out of the host is kept, and not found out again
        trace = kills.trace(*command)
        if undo:
            world.rl.ok(*undo)
    calls = [
        call
        for call in trace.within(world.home.data)
        if call.name != "openat" or ("O_CREAT" in call.text and "locks/" not in call.text)
    ]
    for call in kills.random.sample(calls, k=min(10, len(calls))):
        fault = kills.refuse(call, error, *command)
        if not fault.hit or "O_RDONLY" in fault.hit:
            continue
        try:
            if fault.result.code != 0:
                is_explained(fault.result, code)
            elif undo:
                world.images_are_whole()
                world.rl.ok(*undo)
        except AssertionError as e:
            raise world.failed(e, fault.where) from e
        world.check(fault.where, images=bool(undo))
        if undo:
            # What was complete stays until the image is removed.
            world.rl.ok(*command)
            world.rl.ok(*undo)


class SmallDisk:
    """A tmpfs at the home's data directory, in a mount namespace in which ``rl`` then runs.

    An ordinary user makes a user namespace for it, in which there is one id only.
    """

    def __init__(self, home: Home, me: Me) -> None:
        self.home = home
        os.makedirs(home.data, 0o700)
        self._options = ("-m",) if me.is_root else ("-r", "-m")
        script = f"mount -t tmpfs -o size=64m,mode=700 none {home.data} && echo && exec cat"
        self.process = subprocess.Popen(
            ("unshare", *self._options, "sh", "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout
        if not self.process.stdout.readline():
            pytest.skip("no tmpfs can be mounted here")
        user = () if me.is_root else ("-U", "--preserve-credentials")
        self.enter = ("nsenter", "-t", str(self.process.pid), "-m", *user)
        self.rl = Rl(home)
        self.rl.argv = (*self.enter, *self.rl.argv)

    def sh(self, script: str) -> str:
        """Run a script on the disk."""
        done = subprocess.run((*self.enter, "sh", "-c", script), cwd="/", capture_output=True, text=True, check=False)
        return done.stdout

    def resize(self, size: str) -> None:
        self.sh(f"mount --options-mode ignore -o remount,size={size} {self.home.data}")

    def fill(self) -> None:
        """Leave not a byte."""
        self.sh(f"cat /dev/zero >{self.home.data}/filler; :")

    def free(self) -> None:
        self.sh(f"rm -f {self.home.data}/filler")

    def names(self, directory: str) -> list[str]:
        return self.sh(f"ls {self.home.data}/{directory} 2>/dev/null").split()

    def close(self) -> None:
        self.sh(f"cat {self.home.data}/containers/*/state.json >{self.home.path}/states")
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


@pytest.fixture
def disk(home: Home, me: Me, server: FakeRegistry) -> Iterator[SmallDisk]:
    home.configure(insecure_registries=[server.host])
    if not shutil.which("nsenter"):
        pytest.skip("nsenter is not installed")
    made = SmallDisk(home, me)
    yield made
    for line in made.rl("ps", "-aq").stdout.split():
        made.rl("rm", "-f", line)
    made.close()


def test_a_pull_that_does_not_fit(disk: SmallDisk, server: FakeRegistry) -> None:
    """It says so; there is nothing half, and with more room the next one works."""
    reference = f"{server.host}/whole:latest"
    disk.resize("1m")
    result = disk.rl("pull", reference)
    is_explained(result, 1)
    assert "no space" in result.stderr
    assert disk.rl.ok("images").count("\n") == 0
    assert disk.names("tmp") == []
    disk.resize("64m")
    disk.rl.ok("pull", "-q", reference)
    assert disk.rl.ok("run", "--rm", reference) == "whole"


def test_a_full_disk(disk: SmallDisk, server: FakeRegistry) -> None:
    """Nothing new can be run; what runs goes on, can be looked at and removed, and that makes room."""
    rl, reference = disk.rl, f"{server.host}/whole:latest"
    rl.ok("pull", "-q", reference)
    rl.ok("pull", "-q", f"{server.host}/whole:other")
    script = "read go; for i in $(seq 2000); do echo a line that the log has no room for $i; done; read go; echo end"
    rl.ok("run", "-d", "-i", "--name", "goes-on", reference, "sh", "-c", script)
    rl.ok("run", "-d", "--name", "stays", reference, "sleep", "1000")
    rl.ok("create", "--name", "waits", reference, "true")
    disk.fill()
    for command in (("run", "--rm", reference, "true"), ("run", "-d", reference, "true")):
        result = rl(*command)
        is_explained(result, 125)
        assert "no space is left" in result.stderr, result
    assert rl("start", "waits").code in (0, 1)
    # The log has a gap, the container none.
    attached = rl.start("attach", "goes-on")
    out, _ = attached.communicate(b"go\ngo\n", timeout=30)
    assert out.endswith(b"end\n"), out[-200:]
    assert "goes-on" in rl.ok("ps", "-a")
    assert "a line that" in rl.ok("logs", "--tail", "3", "goes-on") or rl("logs", "goes-on").code == 0
    assert rl.ok("exec", "stays", "echo", "here") == "here"
    rl.ok("stop", "-t", "0", "stays")
    rl.ok("rm", "stays")
    rl.ok("rm", "goes-on")
    disk.fill()
    rl.ok("rmi", f"{server.host}/whole:other")
    disk.free()
    assert rl.ok("start", "-a", "waits") == ""
    rl.ok("rm", "waits")
    assert rl.ok("run", "--rm", reference) == "whole"
    assert disk.names("tmp") == disk.names("containers") == disk.names("names") == []


def test_a_container_that_fills_the_disk(disk: SmallDisk, server: FakeRegistry) -> None:
    """It hears of it itself, and its end is recorded or reads as what it was."""
    rl, reference = disk.rl, f"{server.host}/whole:latest"
    rl.ok("pull", "-q", reference)
    result = rl("run", "--name", "filler", reference, "sh", "-c", "cat /dev/zero >file; echo $?; exit 7")
    assert (result.code, result.stdout) == (7, "1\n"), result
    rl.ok("rm", "filler")
    assert rl.ok("run", "--rm", reference) == "whole"


def test_a_disk_that_became_read_only(disk: SmallDisk, server: FakeRegistry) -> None:
    """What reads, works; what writes says why not."""
    rl, reference = disk.rl, f"{server.host}/whole:latest"
    rl.ok("pull", "-q", reference)
    rl.ok("run", "--name", "was", reference)
    disk.sh(f"mount --options-mode ignore -o remount,ro {disk.home.data}")
    assert "was" in rl.ok("ps", "-a")
    assert rl.ok("logs", "was") == "whole"
    assert "latest" in rl.ok("images")
    rl.ok("inspect", "was")
    for command, code in (
        (("run", "--rm", reference, "true"), 125),
        (("pull", f"{server.host}/whole:other"), 1),
        (("rm", "was"), 1),
        (("rmi", "-f", reference), 1),
        (("start", "was"), 1),
    ):
        result = rl(*command)
        assert "read-only" in result.stderr.lower(), (command, result)
        assert result.code == code, (command, result)
        assert "bug" not in result.stderr
    disk.sh(f"mount --options-mode ignore -o remount,rw {disk.home.data}")
    rl.ok("rm", "was")


def test_a_home_that_cannot_be_written(home: Home, me: Me) -> None:
    """It is told where, and what to set."""
    if me.is_root:
        pytest.skip("needs an ordinary user: root may write everywhere")
    os.mkdir(closed := f"{home.path}/closed", 0o500)
    rl = Rl(home)
    for command, code in ((("run", "--rm", "rl/hello"), 125), (("pull", "rl/hello"), 1)):
        is_explained(rl(*command, env={"RL_DATA": f"{closed}/data"}), code)
    for command in (("ps",), ("images",)):
        assert rl(*command, env={"RL_DATA": f"{closed}/data"}).code == 0


def test_a_store_of_somebody_else(home: Home, me: Me) -> None:
    """Nobody's files are used as if they were ours."""
    other = "/etc"
    if me.is_root:
        os.mkdir(other := f"{home.path}/other")
        os.chown(other, 65534, 65534)
    rl = Rl(home)
    for command, code in ((("run", "--rm", "rl/hello"), 125), (("pull", "rl/hello"), 1)):
        result = rl(*command, env={"RL_DATA": other})
        is_explained(result, code)
        assert "belongs to" in result.stderr, result


@pytest.mark.parametrize("limit", [12, 16, 20, 26, 40])
def test_few_open_files(world: Aftermath, server: FakeRegistry, limit: int) -> None:
    """It works, or says which limit to raise."""
    few = Rl(world.home)
    few.argv = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *world.rl.argv)
    other = f"{server.host}/whole:other"
    for command, code in ((("run", "--rm", world.reference, "true"), 125), (("pull", "-q", other), 1)):
        result = few(*command)
        if result.code:
            is_explained(result, code)
            assert "ulimit -n" in result.stderr, result
    world.check(f"ulimit -n {limit}", images=True)
    assert limit < 40 or result.code == 0
