"""kill -9 of each process at any instant loses nothing: the issue's section "Never lost".

Each test kills one kind of process at least 30 times, at least half of them as it enters a system call that
changes the store. The seed is printed; RL_TEST_SEED sets it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support import aftermath, fake_registry, killer, users
from tests.support.aftermath import Aftermath, Tally
from tests.support.cache import Unavailable
from tests.support.fake_registry import FakeRegistry
from tests.support.home import Home, Rl
from tests.support.killer import Call, Death, Killer

pytestmark = [pytest.mark.usefixtures("namespaces"), pytest.mark.timeout(600)]

#: Writes files with their sums, or, where it was here before, verifies them.
_WRITER: Final = """
if test -e data/sums; then cd data && sha256sum -c sums >/dev/null && echo whole; exit; fi
mkdir -p data && cd data
for i in $(seq 20); do seq 500 >$i; done
sha256sum [0-9]* >new && mv new sums && echo written
"""


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
    """Make a home with an image and a survivor; what is orphaned becomes ours, so that it can be seen."""
    if not killer.strace():
        pytest.skip("strace is not installed, or may not trace: sudo apt-get install strace")
    home.configure(insecure_registries=[server.host])
    with aftermath.adopting():
        yield Aftermath(Rl(home), f"{server.host}/whole:latest")


def test_a_command_line_is_killed_while_it_runs_a_container(world: Aftermath) -> None:
    """Before the container is published nothing is left of it; after that it runs on and can be stopped."""
    kills, tally = Killer(world.rl), Tally("rl run")
    command = ("run", "--name", "victim", world.reference, "true")
    calls = _changes(world, kills, *command)
    while tally.wants_writes:
        _judge(world, tally, kills.strike(kills.random.choice(calls), *command))
    while tally.wants_more:
        _judge(world, tally, kills.after(0.4, "run", "--name", "victim", world.reference, "sleep", "1000"))
    tally.tell()


def test_a_command_line_is_killed_while_it_pulls_what_it_runs(world: Aftermath, server: FakeRegistry) -> None:
    """Nobody goes on downloading for it."""
    kills, tally = Killer(world.rl), Tally("rl run that pulls", enough=8)
    other = f"{server.host}/whole:other"
    while tally.wants_more:
        _judge(world, tally, kills.after(0.6, "run", "--name", "victim", other, "sleep", "1000"), images=True)
        if world.has_image("other"):
            world.rl.ok("rmi", other)
    tally.tell()


def test_a_monitor_is_killed(world: Aftermath) -> None:
    """The container ends with it, whatever either was about; its files stay, and it can be started again."""
    kills, tally = Killer(world.rl, follow=True), Tally("the monitor")
    for options in ((), ("--rm",)):
        world.rl.ok("create", "--name", "victim", *options, world.reference, "sh", "-c", _WRITER)
        trace = kills.trace("start", "victim")
        monitor = next(call.pid for call in trace.calls if "monitor.sock" in call.text)
        calls = [call for call in trace.within(world.home.data) if call.pid == monitor]
        if not options:
            world.rl.ok("rm", "victim")
        before = tally.in_write
        while tally.in_write - before < 8:
            world.rl.ok("create", "--name", "victim", *options, world.reference, "sh", "-c", _WRITER)
            death = kills.strike(kills.random.choice(calls), "start", "victim")
            _judge_restart(world, tally, death)
    while tally.wants_more:
        _judge_restart(world, tally, _kill_monitor(world, kills))
    tally.tell()


def _kill_monitor(world: Aftermath, kills: Killer) -> Death:
    script = f"{_WRITER}\nwhile :; do echo tick; done"
    world.rl.ok("run", "-d", "--name", "victim", world.reference, "sh", "-c", script)
    monitor = world.monitor("victim")
    delay = kills.random.uniform(0, 0.2)
    killer.wait(monitor, delay)
    users.kill(monitor, 0)
    return Death(f"a container's monitor, killed after {delay * 1000:.1f} ms", True, False, -9)


def _judge_restart(world: Aftermath, tally: Tally, death: Death) -> None:
    """Whatever had been written is whole when the container runs again."""
    try:
        world.nobody_is_left()
        if world.rl("inspect", "victim").code == 0:
            said = world.rl.start("start", "-a", "victim", stdin=subprocess.DEVNULL)
            with said:
                assert said.stdout
                first = said.stdout.readline()
                said.kill()
            assert first in (b"whole\n", b"written\n"), first
    except AssertionError as e:
        raise world.failed(e, death.where) from e
    _judge(world, tally, death)


def test_a_container_that_changed_its_user_dies_with_its_monitor(world: Aftermath, needs_ranges: None) -> None:
    """A change of user clears the death signal (prctl(2)): the next command ends the container."""
    script = "exec su app -s /bin/sh -c 'echo up; exec sleep 1000'"
    world.rl.ok("run", "-d", "--name", "victim", world.reference, "sh", "-c", script)
    world.await_line("victim", "up")
    users.kill(world.monitor("victim"), 0)
    assert "Exited (137)" in world.rl.ok("ps", "-a")
    world.check("the monitor of a container that changed its user")


def test_a_holder_is_killed(world: Aftermath) -> None:
    """Running containers go on, a start under way too, and the next one starts another holder."""
    kills, tally = Killer(world.rl), Tally("the holder")
    while tally.wants_writes:
        # It has been forked and is not yet on record: somebody is in the middle of starting it.
        _kill_holders(world)
        delay = kills.random.uniform(0, 0.006)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with world.rl.start("run", "--rm", "--name", "victim", world.reference, "true", **quiet) as process:
            holder = _first_child(process.pid)
            killer.wait(holder, delay)
            unknown = not world.holders()
            users.kill(holder, 0)
            assert process.wait() in (0, 125)
            assert process.stderr
            assert b"Traceback" not in (said := process.stderr.read()), said
        where = f"a holder that was {'not yet' if unknown else 'already'} on record, {delay * 1000:.1f} ms old"
        _judge(world, tally, Death(where, True, unknown, -9))
    while tally.wants_more:
        delay = kills.random.uniform(0, 0.3)
        with world.rl.start("run", "--rm", "--name", "victim", world.reference, "true", **quiet) as process:
            killer.wait(process.pid, delay)
            _kill_holders(world)
            assert process.wait() == 0, process.stderr and process.stderr.read()
        _judge(world, tally, Death(f"the holder, killed {delay * 1000:.1f} ms after a run began", True, False, -9))
    tally.tell()


def test_a_command_line_is_killed_while_it_starts_the_holder(world: Aftermath) -> None:
    """A holder that nobody could find again would stay for ever."""
    kills, tally = Killer(world.rl), Tally("rl run that starts the holder", enough=20)
    while tally.wants_more:
        _kill_holders(world)
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        with world.rl.start("run", "--rm", "--name", "victim", world.reference, "true", **quiet) as process:
            _first_child(process.pid)
            delay = kills.random.uniform(0, 0.05)
            killer.wait(process.pid, delay)
            process.kill()
        where = f"a command line, killed {delay * 1000:.1f} ms after it forked the holder"
        _judge(world, tally, Death(where, True, False, process.returncode))
    tally.tell()


def _kill_holders(world: Aftermath) -> None:
    for pid in world.holders():
        users.kill(pid, 0)


def _first_child(pid: int) -> int:
    """Return the first process that ``pid`` forks, as soon as it does."""
    while not killer.wait(pid, 0):
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            children = f.read().split()
        if children:
            return int(children[0])
    raise AssertionError("it forked nobody")


@pytest.mark.parametrize("victim", ["coordinator", "worker"])
def test_a_pull_is_killed(world: Aftermath, server: FakeRegistry, victim: str) -> None:
    """No image is listed that is not whole, and the next pull completes it."""
    is_worker = victim == "worker"
    kills, tally = Killer(world.rl, follow=is_worker), Tally(f"a pull's {victim}")
    other = f"{server.host}/whole:other"
    before = world.contents()
    trace = kills.trace("pull", "-q", other)
    calls = [call for call in trace.within(world.home.data) if bool(call.pid) == is_worker]
    if is_worker:
        # What the coordinator does as often would kill it first.
        most: dict[str, int] = {}
        for call in trace.calls:
            if not call.pid:
                most[call.name] = call.number
        calls = [call for call in calls if call.number > most.get(call.name, 0)]
    world.rl.ok("rmi", other)
    while tally.wants_more:
        if tally.wants_writes:
            death = kills.strike(kills.random.choice(calls), "pull", "-q", other)
        elif is_worker:
            death = _kill_worker(world, kills, other)
        else:
            death = kills.after(0.4, "pull", "-q", other)
        _judge(world, tally, death, images=True)
        try:
            assert world.rl.ok("run", "--rm", "--pull", "always", "-q", other) == "whole"
            world.rl.ok("rmi", other)
            world.nothing_is_left()
            assert world.contents() == before
        except AssertionError as e:
            raise world.failed(e, death.where) from e
    tally.tell()


def _kill_worker(world: Aftermath, kills: Killer, reference: str) -> Death:
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    delay = kills.random.uniform(0, 0.05)
    with world.rl.start("pull", "-q", reference, **quiet) as process:
        worker = _first_child(process.pid)
        killer.wait(worker, delay)
        users.kill(worker, 0)
        code = process.wait()
    return Death(f"the first worker of a pull, killed {delay * 1000:.1f} ms after its start", True, False, code)


def test_a_removal_is_killed(world: Aftermath, me: users.Me) -> None:
    """The container is there, whole, or gone; what its removal left is swept by the next."""
    kills, tally = Killer(world.rl), Tally("rl rm")
    others = "chown -R app data; chmod 700 data;" if me.has_ranges else ""
    script = f"{_WRITER}\n cd /; {others} exec sleep 1000"
    command = ("run", "--name", "victim", world.reference, "sh", "-c", f"{_WRITER}\ncd /; {others}")

    def prepare() -> None:
        world.rl.ok(*command)

    prepare()
    calls = kills.trace("rm", "victim").within(world.home.data)
    while tally.wants_writes:
        prepare()
        _judge(world, tally, kills.strike(kills.random.choice(calls), "rm", "victim"))
    while tally.wants_more:
        world.rl.ok("run", "-d", "--name", "victim", world.reference, "sh", "-c", script)
        world.await_line("victim", "written")
        _judge(world, tally, kills.after(0.3, "rm", "-f", "victim"))
    tally.tell()


def test_a_removal_of_an_image_is_killed(world: Aftermath, server: FakeRegistry) -> None:
    """The image is listed and whole, or not listed; pulling and removing it again leaves nothing of it."""
    kills, tally = Killer(world.rl), Tally("rl rmi", enough=12)
    other = f"{server.host}/whole:other"
    before = world.contents()
    world.rl.ok("pull", "-q", other)
    calls = kills.trace("rmi", other).within(world.home.data)
    while tally.wants_more:
        world.rl.ok("pull", "-q", other)
        _judge(world, tally, kills.strike(kills.random.choice(calls), "rmi", other), images=True)
        world.rl.ok("pull", "-q", other)
        world.rl.ok("rmi", other)
        assert world.contents() == before
    tally.tell()


def _changes(world: Aftermath, kills: Killer, *command: str) -> list[Call]:
    """Return the changes to the store that a command makes that creates ``victim``."""
    kills.trace(*command)  # what it finds out of the host is kept, and not found out again
    world.rl.ok("rm", "victim")
    calls = kills.trace(*command).within(world.home.data)
    world.rl.ok("rm", "victim")
    return calls


def _judge(world: Aftermath, tally: Tally, death: Death, *, images: bool = False) -> None:
    tally.add(death.killed, death.in_write)
    world.check(death.where, images=images)
