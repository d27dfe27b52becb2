"""What must be true after somebody was killed: every command works, nothing half, nobody left, data as it was."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from rootless.linux import pidfd, prctl
from tests.support import cache, oci, tools
from tests.support.home import Home, Rl
from tests.support.killer import seed, wait
from tests.support.oci import Layout

_VERSION: Final = 2
_PR_SET_CHILD_SUBREAPER: Final = 36
#: The images' own command: the files are those that the layers were made of.
_VERIFY: Final = (
    "cd / && sha256sum -c sums >/dev/null && test ! -e two/gone && stat -c %a deep/er | grep -q 711 && echo whole"
)
_SURVIVE: Final = "mkdir data; for i in $(seq 100); do seq $i >data/$i; done; sync; echo written; exec sleep 10000"
HASH: Final = "cat data/* | sha256sum"
_APPLETS: Final = "cat chown echo false grep id mkdir mv rm seq sh sha256sum sleep stat su sync test touch true".split()


def images() -> str:
    """Return an OCI layout with two images of four layers, ``latest`` and ``other``, that share no layer.

    Their command verifies them and says ``whole``.

    Raises:
        Unavailable: there is no busybox.
    """
    return cache.get(f"images-whole-{_VERSION}", _make)


def _make(target: str) -> None:
    with open(tools.find("busybox"), "rb") as f:
        busybox = f.read()
    layout = Layout(target)
    for number, tag in enumerate(("latest", "other")):
        layout.tag(tag, _image(layout, busybox, random.Random(number)))
    layout.close()


def _image(layout: Layout, busybox: bytes, noise: random.Random) -> oci.Document:
    files: dict[str, bytes] = {"bin/busybox": busybox, "one/mark": noise.randbytes(16)}
    tar = f"{layout.path}/layer.tar"
    with oci.TarWriter(tar) as out:
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "one", "two", "deep"):
            out.directory(name)
        out.directory("deep/er", 0o711)
        out.file("one/mark", files["one/mark"])
        out.file("bin/busybox", busybox, 0o755)
        for name in _APPLETS:
            out.hardlink(f"bin/{name}", "bin/busybox")
        out.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/:/bin/sh\n")
        out.file("etc/group", b"root:x:0:\napp:x:1000:\n")
        out.file("two/gone", b"removed by a layer above\n")
    layers = [layout.layer(tar)]
    for name, compression in (("one", "zstd"), ("two", "gzip")):
        with oci.TarWriter(tar) as out:
            # Its parent has no entry here: it must look as below.
            inside = [f"deep/er/{name}", *(f"{name}/{place}" for place in range(60))]
            for path in inside:
                files[path] = noise.randbytes(noise.choice((10, 1000, 30000)))
                out.file(path, files[path])
            if name == "two":
                out.file("two/.wh.gone")
        layers.append(layout.layer(tar, compression))
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in files.items())
    with oci.TarWriter(tar) as out:
        out.file("sums", lines.encode())
    layers.append(layout.layer(tar))
    os.unlink(tar)
    return layout.image(layers, {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh", "-c", _VERIFY]})


class Process(NamedTuple):
    """A line of /proc/PID/stat, with the command's name."""

    pid: int
    parent: int
    state: str
    name: str


def processes() -> dict[int, Process]:
    """Return every process of the machine."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                    head, _, rest = f.read().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = rest.split()
            found[int(entry)] = Process(int(entry), int(fields[1]), fields[0], head.partition("(")[2])
    return found


def descendants(roots: set[int]) -> dict[int, Process]:
    """Return the processes below ``roots``."""
    everyone = processes()
    found: dict[int, Process] = {}
    fresh = roots
    while fresh:
        children = {pid: p for pid, p in everyone.items() if p.parent in fresh and pid not in found}
        found.update(children)
        fresh = set(children)
    return found


@contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of what our descendants leave behind, as process 1 would (PR_SET_CHILD_SUBREAPER)."""
    prctl.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl.prctl(_PR_SET_CHILD_SUBREAPER, 0)


class Aftermath:
    """A home with an image and a container that lives through everything; ``check`` judges what a death left.

    ``reference``: the first of ``images()`` on a registry; it is pulled.
    """

    def __init__(self, rl: Rl, reference: str) -> None:
        self.rl = rl
        self.home: Home = rl.home
        self.reference = reference
        self._before = set(descendants({os.getpid()}))
        rl.ok("pull", "-q", reference)
        rl.ok("run", "-d", "--name", "survivor", reference, "sh", "-c", _SURVIVE)
        self.await_line("survivor", "written")
        self.hash = rl.ok("exec", "survivor", "sh", "-c", HASH)

    def holders(self) -> list[int]:
        """Return the holders on record that live."""
        return self._recorded(f"{self.home.runtime}/holder-*.json", "pid", "start")

    def monitor(self, name: str) -> int:
        """Return the monitor of a container."""
        with open(self._state(name)) as f:
            return int(json.load(f)["monitor"])

    def edit(self, name: str, **changes: object) -> None:
        """Change what is written of a container's state."""
        with open(self._state(name)) as f:
            state = json.load(f)
        with open(self._state(name), "w") as f:
            json.dump({**state, **changes}, f)

    def _state(self, name: str) -> str:
        id_ = os.readlink(f"{self.home.data}/names/{name}").split(".")[0]
        return f"{self.home.data}/containers/{id_}/state.json"

    def contents(self) -> tuple[set[str], set[str]]:
        """Return the blobs and the layers in the store."""
        return set(os.listdir(f"{self.home.data}/blobs/sha256")), set(os.listdir(f"{self.home.data}/layers"))

    def await_line(self, name: str, line: str) -> None:
        """Wait until a container has said so."""
        process = self.rl.start("logs", "-f", name)
        assert process.stdout
        assert line in process.stdout.readline().decode()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()

    def check(self, where: str, *, images: bool = True) -> None:
        """Insist on everything; ``where`` says who was killed, and when."""
        try:
            self._check(images)
        except AssertionError as e:
            raise self.failed(e, where) from e

    @staticmethod
    def failed(error: AssertionError, where: str) -> AssertionError:
        """Return the error with who was killed, and how to meet it again."""
        return AssertionError(f"{error}\n\nafter {where}\nRL_TEST_SEED={seed()} meets it again")

    def has_image(self, tag: str) -> bool:
        """Tell whether an image with this tag is listed."""
        return any(line.split()[1] == tag for line in self.rl.ok("images").split("\n"))

    def _check(self, images: bool) -> None:
        rl = self.rl
        self.nobody_is_left()
        names = [line.split()[-1] for line in rl.ok("ps", "-a").split("\n")[1:]]
        assert "survivor" in names, names
        assert rl.ok("exec", "survivor", "sh", "-c", HASH) == self.hash, "the survivor's files have changed"
        assert rl.ok("logs", "survivor") == "written"
        for name in names:
            if name != "survivor":
                self._remove(name)
        if images:
            self.images_are_whole()
        # A name that somebody had half-taken is free, and this rm sweeps what was left.
        rl.ok("create", "--name", "victim", self.reference, "true")
        rl.ok("rm", "victim")
        self.nothing_is_left()
        self.nobody_is_left()

    def _remove(self, name: str) -> None:
        """End and remove a container that the death left, whatever its state."""
        rl = self.rl
        state = rl.ok("inspect", "--format", "{{.State.Status}}", name)
        assert state in ("created", "running", "exited"), state
        rl.ok("logs", name)
        if state == "running":
            assert rl("exec", name, "true").code == 0
            rl.ok("stop", "-t", "0", name)
        rl.ok("rm", name)

    def images_are_whole(self) -> None:
        """Insist that each image listed runs as it is, and that the blobs and layers in the store are whole."""
        rl = self.rl
        for line in rl.ok("images").split("\n")[1:]:
            name = ":".join(line.split()[:2])
            said = rl("run", "--rm", "--pull", "never", name)
            assert (said.code, said.stdout) == (0, "whole\n"), f"{name} is listed, but is not whole: {said}"
        blobs = f"{self.home.data}/blobs/sha256"
        for name in os.listdir(blobs):
            with open(f"{blobs}/{name}", "rb") as f:
                assert hashlib.sha256(f.read()).hexdigest() == name, f"the blob {name} is not whole"
        for key in os.listdir(f"{self.home.data}/layers"):
            inside = set(os.listdir(f"{self.home.data}/layers/{key}"))
            assert {"fs", "layer.json"} <= inside, f"the layer {key} has only {inside}"

    def nothing_is_left(self) -> None:
        """Insist that the store holds nothing that belongs to nobody."""
        data = self.home.data
        containers = set(os.listdir(f"{data}/containers"))
        assert os.listdir(f"{data}/tmp") == []
        taken = {name: os.readlink(f"{data}/names/{name}").split(".")[0] for name in os.listdir(f"{data}/names")}
        assert set(taken.values()) <= containers, f"names of no container: {taken}"
        assert set(os.listdir(f"{data}/locks")) <= {"index", "store", "names"}, os.listdir(f"{data}/locks")
        runtime = {name for name in os.listdir(self.home.runtime) if not name.startswith("holder-")}
        assert runtime <= {"seccomp", "storage.json"}, runtime
        with open("/proc/self/mountinfo") as f:
            mounts = [line for line in f if self.home.path in line]
        assert not mounts, f"leaked into the host's namespace: {mounts}"

    def nobody_is_left(self) -> None:
        """Insist that of all we started only what is on record lives; what is on its way gets ten seconds."""
        until = time.monotonic() + 10
        while strangers := self._strangers():
            assert time.monotonic() < until, f"left running, or not reaped: {list(strangers.values())}"
            for pid in strangers:
                wait(pid, 0.1)  # or it is a monitor that is about to write its record
            _reap()

    def _strangers(self) -> dict[int, Process]:
        recorded = self._on_record()
        known = recorded | set(descendants(recorded)) | self._before
        return {pid: p for pid, p in descendants({os.getpid()}).items() if pid not in known}

    def _on_record(self) -> set[int]:
        """Return the holders and the monitors that live; whatever else lives must be below a monitor."""
        containers = f"{self.home.data}/containers/*/state.json"
        return {*self.holders(), *self._recorded(containers, "monitor", "monitor_start")}

    @staticmethod
    def _recorded(pattern: str, pid: str, start: str) -> list[int]:
        found = []
        for path in glob.glob(pattern):
            try:
                with open(path) as f:
                    record = json.load(f)
            except FileNotFoundError:  # removed at this moment
                continue
            if record[pid] and pidfd.is_alive(record[pid], record[start]):
                found.append(int(record[pid]))
        return found


def _reap() -> None:
    """Wait for those whom we adopted, as process 1 would."""
    for process in descendants({os.getpid()}).values():
        if process.parent == os.getpid() and process.state == "Z":
            os.waitpid(process.pid, os.WNOHANG)


class Tally:
    """Counts deaths until there are enough: ``enough`` kills, of which half in an observed write.

    RL_TEST_KILLS lowers that, for the users as whom all this is only repeated.
    """

    def __init__(self, what: str, enough: int = 30) -> None:
        self._what = what
        self._enough = min(enough, int(os.environ.get("RL_TEST_KILLS", "30")))
        self.kills = self.in_write = self.tries = 0
        print(f"RL_TEST_SEED={seed()}")

    def add(self, killed: bool, in_write: bool) -> None:
        self.tries += 1
        self.kills += killed
        self.in_write += killed and in_write
        assert self.tries < 8 * self._enough, f"{self._what}: {self.kills} kills in {self.tries} tries"

    @property
    def wants_writes(self) -> bool:
        return self.in_write * 2 < self._enough

    @property
    def wants_more(self) -> bool:
        return self.kills < self._enough

    def tell(self) -> None:
        print(f"{self._what}: killed {self.kills} times, {self.in_write} of them in an observed write")
