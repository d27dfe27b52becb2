"""Whether a container runs is told by the data directory alone: host, boot, process and its start time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import aftermath, fake_registry, users
from tests.support.aftermath import Aftermath
from tests.support.cache import Unavailable
from tests.support.home import Home, Rl

pytestmark = pytest.mark.usefixtures("namespaces")


@pytest.fixture
def world(home: Home) -> Iterator[Aftermath]:
    """Make a home with a survivor and a running container ``victim``."""
    try:
        layout = aftermath.images()
    except Unavailable as e:
        pytest.skip(f"the images cannot be made: {e}")
    with fake_registry.serve() as server, aftermath.adopting():
        server.load(layout, "whole")
        home.configure(insecure_registries=[server.host])
        made = Aftermath(Rl(home), f"{server.host}/whole:latest")
        made.rl.ok("run", "-d", "--name", "victim", made.reference, "sleep", "1000")
        yield made


def shown(world: Aftermath, name: str) -> str:
    """Return the line of ``ps -a`` about a container."""
    (line,) = (line for line in world.rl.ok("ps", "-a").splitlines() if line.split()[-1] == name)
    return line


def test_after_a_restart_of_the_host_nothing_runs(world: Aftermath) -> None:
    """Another boot id means that whatever was written is over."""
    monitor = world.monitor("victim")
    world.edit("victim", boot="0" * 36)
    assert "Exited (137)" in shown(world, "victim")
    assert world.rl("exec", "victim", "true").code == 1
    assert world.rl.ok("ps").count("\n") == 1
    users.kill(monitor, 0)
    world.check("another boot id")


def test_a_container_of_another_host_is_left_alone(world: Aftermath) -> None:
    """It is shown where it runs; start, stop, exec and rm say so and do nothing."""
    world.edit("victim", host="elsewhere", boot="0" * 36)
    assert "unning on elsewhere" in shown(world, "victim")
    for command in (
        ("start", "victim"),
        ("rm", "victim"),
        ("rm", "-f", "victim"),
        ("stop", "victim"),
        ("kill", "victim"),
        ("exec", "victim", "true"),
        ("attach", "victim"),
    ):
        result = world.rl(*command)
        assert result.code == 1, (command, result)
        assert "elsewhere" in result.stderr, (command, result)
    assert world.rl("rmi", world.reference).code == 1
    here = os.uname().nodename
    with open("/proc/sys/kernel/random/boot_id") as f:
        world.edit("victim", host=here, boot=f.read().strip())
    assert "Up " in shown(world, "victim")
    world.check("a container of another host")


def test_a_host_that_was_renamed_is_the_same(world: Aftermath) -> None:
    """The boot id says that it is the same kernel, whatever it is called now."""
    world.edit("victim", host="before")
    assert "Up " in shown(world, "victim")
    assert world.rl.ok("exec", "victim", "echo", "here") == "here"
    world.check("another name of the host")


def test_containers_outlive_the_runtime_directory(world: Aftermath) -> None:
    """Logging out may delete it: all commands work, and the holder that nobody can find ends."""
    world.rl.ok("exec", "victim", "sh", "-c", "mkdir /closed && chmod 700 /closed && touch /closed/file")
    users.remove_tree(world.home.runtime)
    assert "Up " in shown(world, "victim")
    assert world.rl.ok("exec", "victim", "echo", "here") == "here"
    assert world.rl.ok("logs", "survivor") == "written"
    process = world.rl.start("wait", "victim")
    world.rl.ok("stop", "-t", "0", "victim")
    assert process.communicate(timeout=20)[0] == b"137\n"
    world.rl.ok("rm", "victim")
    users.remove_tree(world.home.runtime)
    assert world.rl.ok("run", "--rm", world.reference) == "whole"
    world.check("the runtime directory was deleted", images=True)


def test_a_container_ends_with_the_command_line_that_it_outlived(world: Aftermath) -> None:
    """Whoever waits learns it; nobody is left waiting when the monitor is killed."""
    waiting = world.rl.start("wait", "victim")
    following = world.rl.start("logs", "-f", "victim")
    attached = world.rl.start("attach", "victim", stdin=subprocess.DEVNULL)
    assert world.rl.ok("exec", "victim", "true") == ""
    users.kill(world.monitor("victim"), 0)
    assert waiting.communicate(timeout=20)[0] == b"137\n"
    following.communicate(timeout=20)
    said = attached.communicate(timeout=20)
    assert attached.returncode, said
    world.check("a monitor that three clients were connected to")
