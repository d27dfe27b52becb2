"""The test command: a copy of the tree, a wheel of it, pytest once per user, one sum. Standard library only."""

from __future__ import annotations

import glob
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from typing import Any, Final, NamedTuple

from tests.support import cache, users
from tests.support.machine import WITH_RANGES, WITHOUT, Stop, run, say

IN_CI: Final = os.environ.get("CI") == "true"

#: The tests that depend on who runs them.
AS_EVERYBODY: Final = ("tests/namespaces", "tests/conformance", "tests/e2e")

#: Seconds after which a turn ends, whatever hangs.
LONGEST_TURN: Final = 2400


class Turn(NamedTuple):
    """One run of pytest: by ``user`` ("": the caller), over ``paths`` (none: all tests)."""

    user: str
    paths: tuple[str, ...] = ()


class Workplace:
    """A directory that every user can read and that is removed at the end.

    ``source`` is the tree; ``suite`` lacks the packages, so that it is the installed wheel that is tested.
    """

    def __init__(self, tree: str) -> None:
        self._tree = tree
        self._base = cache.own()
        os.makedirs(self._base, exist_ok=True)
        self.path = tempfile.mkdtemp(prefix="run-", dir=self._base)
        self.source = f"{self.path}/source"
        self.suite = f"{self.path}/suite"

    def __enter__(self) -> Workplace:
        os.chmod(self.path, 0o755)
        self._copy()
        packages = ("rootless", "idmap", "fs")
        shutil.copytree(self.source, self.suite, ignore=lambda path, _: packages if path == self.source else ())
        return self

    def __exit__(self, *exc: object) -> None:
        users.remove_tree(self.path)

    def _copy(self) -> None:
        """Copy what git knows and does not ignore; without git, everything but caches."""
        options = ("-c", "safe.directory=*", "-C", self._tree)
        command = ("git", *options, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        try:
            listed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            caches = shutil.ignore_patterns(".*cache*", ".git", ".venv", "__pycache__")
            shutil.copytree(self._tree, self.source, symlinks=True, ignore=caches)
        else:
            for name in filter(None, os.fsdecode(listed).split("\0")):
                if os.path.lexists(f"{self._tree}/{name}"):
                    os.makedirs(os.path.dirname(f"{self.source}/{name}"), exist_ok=True)
                    shutil.copy2(f"{self._tree}/{name}", f"{self.source}/{name}", follow_symlinks=False)
        run("chmod", "-R", "a+rX", self.source)

    def environment(self, python: str) -> str:
        """Return where the environment for this Python and these locked tools is kept from run to run."""
        with open(f"{self.source}/requirements-dev.lock", "rb") as f:
            lock = f.read()
        version = subprocess.run((python, "-VV"), stdout=subprocess.PIPE, check=True).stdout
        return f"{self._base}/env-{hashlib.sha256(lock + version + python.encode()).hexdigest()[:12]}"

    def wheel(self, python: str) -> str:
        """Build a wheel of the tree and return its path."""
        command = (python, "-m", "hatchling", "build", "-t", "wheel", "-d", f"{self.path}/dist")
        run(*command, cwd=self.source, stdout=subprocess.DEVNULL)
        (wheel,) = glob.glob(f"{self.path}/dist/*.whl")
        return wheel

    def make_images(self, python: str) -> None:
        """Make images and the registry's store before any user needs them.

        Raises:
            Stop: one cannot be made, and this is CI.
        """
        environment = {**os.environ, "RL_TEST_CACHE": self._base}
        done = subprocess.run((python, "-m", "tests.support.registry"), cwd=self.suite, env=environment, check=False)
        if done.returncode and IN_CI:
            raise Stop("an image cannot be made; it is required here")

    def run(self, python: str, turn: Turn, arguments: list[str]) -> str:
        """Run pytest for one turn and return the path of its JUnit report, which may be missing."""
        mine = f"{self.path}/{turn.user or 'me'}"
        os.makedirs(f"{mine}/home", mode=0o700)
        identity: dict[str, Any] = {}
        account = pwd.getpwnam(turn.user) if turn.user not in ("", "root") else None
        if account:
            for directory in (mine, f"{mine}/home"):
                os.chown(directory, account.pw_uid, account.pw_gid)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        report = f"{mine}/report.xml"
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--session-timeout={LONGEST_TURN}"]
        command += [f"--basetemp={mine}/tmp", f"--junitxml={report}", "--durations=10", *arguments]
        if not any(os.path.exists(f"{self.suite}/{argument.partition('::')[0]}") for argument in arguments):
            command += [path for path in turn.paths if glob.glob(f"{self.suite}/{path}/**/test_*.py", recursive=True)]
        say(f"testing as {turn.user or users.me().name}")
        subprocess.run(
            command, cwd=self.suite, env=self._variables(python, mine, turn.user), stdin=subprocess.DEVNULL,
            check=False, **identity,
        )  # fmt: skip
        if account:
            _end_leftovers(account.pw_uid)
        return report

    def _variables(self, python: str, mine: str, user: str) -> dict[str, str]:
        kept = ("CI", "TERM", "RL_TEST_TMP", "RL_TEST_MIRROR", "RL_TEST_SEED")
        return {key: os.environ[key] for key in kept if key in os.environ} | {
            "PATH": f"{os.path.dirname(python)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": f"{mine}/home",
            "USER": user or users.me().name,
            "LANG": "C.UTF-8",
            "RL_TEST_CACHE": self._base,
            "RL_TEST_SOURCE": self.source,
            "HYPOTHESIS_STORAGE_DIRECTORY": f"{mine}/hypothesis",
            "PYTHONDONTWRITEBYTECODE": "1",
            # All kills are made as one user; the others are there to show that it is the same for them.
            "RL_TEST_KILLS": os.environ.get("RL_TEST_KILLS", "8" if user in (WITHOUT, "root") else "30"),
        }


def run_all(place: Workplace, python: str, arguments: list[str]) -> list[str]:
    """Run every turn that the caller can make and return the reports."""
    turns: tuple[Turn, ...] = (Turn(""),)
    if users.me().is_root:
        turns = (Turn(WITH_RANGES), Turn(WITHOUT, AS_EVERYBODY), Turn("root", AS_EVERYBODY))
    return [place.run(python, turn, arguments) for turn in turns]


def _end_leftovers(uid: int) -> None:
    """Kill what the tests left running as one of our two users, and name it: it is a fault of a test or of rl."""
    for entry in glob.glob("/proc/[0-9]*"):
        try:
            if os.stat(entry).st_uid == uid:
                with open(f"{entry}/cmdline", "rb") as f:
                    said = f.read().replace(b"\0", b" ").decode(errors="replace")
                print(f"left running: {entry[6:]} {said}", flush=True)
                os.kill(int(entry[6:]), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


# --- the sum ------------------------------------------------------------------------------------


class Sum:
    """What became of the tests in all turns together. ``broken``: a turn left no report or ran no test."""

    def __init__(self, reports: list[str]) -> None:
        self.passed = self.failed = 0
        self.skipped: list[tuple[str, str]] = []
        self.ran: set[str] = set()
        self.broken = False
        for path in reports:
            cases = list(ET.parse(path).iter("testcase")) if os.path.exists(path) else []
            self.broken |= not cases
            for case in cases:
                self._count(case)

    def _count(self, case: ET.Element) -> None:
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = {child.tag: child.get("message", "") for child in case}
        if "failure" in kinds or "error" in kinds:
            self.failed += 1
        elif "skipped" in kinds:
            self.skipped.append((name, kinds["skipped"]))
            return
        else:
            self.passed += 1
        self.ran.add(name)

    def never_ran(self) -> dict[str, list[str]]:
        """Return the tests that were skipped in every turn, by the reasons."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.skipped:
            if name not in self.ran and reason not in reasons.setdefault(name, []):
                reasons[name].append(reason)
        found: dict[str, list[str]] = {}
        for name, given in reasons.items():
            found.setdefault("; ".join(given), []).append(name)
        return found


def summary(reports: list[str], *, whole: bool) -> int:
    """Say what was not run and why, close with one plain line, and return the exit code.

    ``whole``: no tests were selected, so that every turn must have run some.
    """
    total = Sum(reports)
    failed = total.failed
    for reason, names in total.never_ran().items():
        print(f"not run: {len(names)} tests: {reason}")
        if IN_CI and whole and not re.match(r"only on (aarch64|x86_64|Python)\b", reason):
            print("\n".join(f"  required here: {name}" for name in names))
            failed += len(names)
    broken = total.broken and whole
    if broken:
        print("a turn ended without running a test")
        failed += not failed
    print(f"{total.passed} passed, {failed} failed, {len(total.skipped)} skipped", flush=True)
    return int(failed > 0)
