"""Many commands at the same moment: each does its work, blobs are fetched once, and nothing is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import aftermath, users
from tests.support.aftermath import Aftermath
from tests.support.home import Home, Rl
from tests.support.registry import Registry, push

pytestmark = [pytest.mark.usefixtures("namespaces"), pytest.mark.timeout(300)]


@pytest.fixture
def whole(empty_registry: Registry, home: Home) -> Registry:
    """A registry that has the images that verify themselves, and that the home trusts."""
    for tag in ("latest", "other"):
        push(empty_registry, aftermath.images(), tag, f"whole:{tag}")
    home.trust(empty_registry)
    return empty_registry


@pytest.fixture
def world(home: Home, whole: Registry) -> Iterator[Aftermath]:
    with aftermath.adopting():
        yield Aftermath(Rl(home), whole.reference("whole:latest"))


def together(rl: Rl, commands: list[tuple[str, ...]]) -> list[tuple[int, str, str]]:
    """Start all commands, then wait for each; return exit codes and what they printed."""
    started = [rl.start(*command, stdin=subprocess.DEVNULL) for command in commands]
    done = []
    for process in started:
        out, err = process.communicate(timeout=120)
        done.append((process.returncode, out.decode(), err.decode()))
    return done


def test_fifty_runs_at_once(world: Aftermath) -> None:
    """Fifty containers say their number and are gone."""
    script = "echo $0; exit $1"
    run = ("run", "--rm", world.reference, "sh", "-c", script)
    done = together(world.rl, [(*run, str(number), str(number % 4)) for number in range(50)])
    assert [(code, out) for code, out, _ in done] == [(number % 4, f"{number}\n") for number in range(50)], done
    world.check("fifty runs at once")


def test_twenty_first_runs_start_one_holder(world: Aftermath) -> None:
    """Of many that find no holder one starts it."""
    for pid in world.holders():
        users.kill(pid, 0)
    done = together(world.rl, [("run", "--rm", world.reference, "true")] * 20)
    assert {code for code, _, _ in done} == {0}, done
    assert len(world.holders()) == 1
    world.check("twenty first runs at once")


def test_fifty_commands_in_one_container_at_once(world: Aftermath) -> None:
    """Each gets its own output and exit code."""
    commands = [("exec", "survivor", "sh", "-c", "echo $0; exit $0", str(number)) for number in range(50)]
    done = together(world.rl, commands)
    assert [(code, out) for code, out, _ in done] == [(number, f"{number}\n") for number in range(50)], done
    world.check("fifty commands at once")


def test_a_monitor_keeps_no_descriptor_of_a_command_that_has_ended(world: Aftermath) -> None:
    """A hundred commands after one another run where it may have 64 descriptors."""
    few = Rl(world.home)
    few.argv = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *world.rl.argv)
    few.ok("run", "-d", "--name", "victim", world.reference, "sleep", "1000")
    script = f"for i in $(seq 100); do {' '.join(world.rl.argv)} exec victim true || exit; done"
    done = subprocess.run(("sh", "-c", script), env=world.home.env, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done
    world.check("a hundred commands")


def test_commands_that_a_monitor_has_no_descriptors_for_are_refused(world: Aftermath) -> None:
    """The container goes on, and takes commands again."""
    few = Rl(world.home)
    few.argv = ("sh", "-c", 'ulimit -n 40; exec "$@"', "sh", *world.rl.argv)
    few.ok("run", "-d", "--name", "victim", world.reference, "sleep", "1000")
    started = [world.rl.start("exec", "-i", "victim", "cat") for _ in range(20)]
    results = []
    for process in started:
        out, err = process.communicate(b"typed\n", timeout=60)
        results.append((process.returncode, out, err))
    for code, out, err in results:
        assert (code, out) == (0, b"typed\n") or (code == 1 and b"too many open files" in err), results
    assert world.rl.ok("exec", "victim", "echo", "again") == "again"
    world.check("too many commands")


def test_of_pulls_at_once_one_fetches_each_blob(rl: Rl, whole: Registry) -> None:
    """The registry counts one GET per blob, and each pull ends with the whole image."""
    reference = whole.reference("whole:other")
    done = together(rl, [("pull", reference)] * 6)
    assert [code for code, _, _ in done] == [0] * 6, done
    counts = whole.blob_gets()
    assert set(counts.values()) == {1}, counts
    assert rl.ok("run", "--rm", "--pull", "never", reference) == "whole"
    assert os.listdir(f"{rl.home.data}/tmp") == []


def test_of_runs_at_once_one_pulls(rl: Rl, whole: Registry) -> None:
    """The same where each run pulls what is missing."""
    reference = whole.reference("whole:other")
    done = together(rl, [("run", "--rm", reference)] * 6)
    assert [(code, out) for code, out, _ in done] == [(0, "whole\n")] * 6, done
    counts = whole.blob_gets()
    assert set(counts.values()) == {1}, counts


def test_an_image_is_removed_while_it_is_run(world: Aftermath, whole: Registry) -> None:
    """Each run has the whole image, or is told that there is none; never half of it."""
    reference = whole.reference("whole:other")
    for _ in range(4):
        world.rl.ok("pull", "-q", reference)
        runs = [("run", "--rm", "--pull", "never", reference)] * 4
        done = together(world.rl, [*runs[:2], ("rmi", reference), *runs[2:]])
        for code, out, err in (*done[:2], *done[3:]):
            assert (code, out) == (0, "whole\n") or (code == 125 and "No such image" in err), (code, out, err)
        assert done[2][0] == 0 or "conflict" in done[2][2], done[2]
    world.rl("rmi", reference)
    world.check("removing an image that is run")


def test_a_container_is_removed_while_commands_run_in_it(world: Aftermath) -> None:
    """Nobody waits for ever, and each command ends with its own code, 137, or is told why."""
    for _ in range(4):
        world.rl.ok("run", "-d", "--name", "victim", world.reference, "sleep", "1000")
        execs = [("exec", "victim", "sh", "-c", "exit 3")] * 3 + [("exec", "victim", "sleep", "1000")]
        done = together(world.rl, [*execs, ("rm", "-f", "victim")])
        assert done[-1][0] == 0, done[-1]
        for code, _, err in done[:3]:
            assert code in (1, 3, 137), (code, err)
        assert done[3][0] in (1, 137), done[3]
        assert not [err for _, _, err in done if "Traceback" in err or "bug" in err], done
    world.check("removing containers in use")


def test_of_many_that_want_one_name_one_gets_it(world: Aftermath) -> None:
    """Also where the name was left by a killed process."""
    os.symlink(f"{'0' * 64}.1999999.1", f"{world.home.data}/names/victim")
    done = together(world.rl, [("create", "--name", "victim", world.reference, "true")] * 10)
    assert sorted(code for code, _, _ in done) == [0] + [1] * 9, done
    world.check("taking one name ten times")
