"""The other tools, set up for a fair run: podman with overlayfs and without logs to a journal, crun, bubblewrap."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping

from tests.support import users
from tests.support.registry import Registry

_CONTAINERS = """\
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
"""
_STORAGE = """\
[storage]
driver = "overlay"
rootless_storage_path = "{path}/storage"
graphroot = "{path}/storage"
runroot = "{path}/run"
"""
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


def missing(program: str) -> str:
    """Return why ``program`` cannot be compared with, or an empty text."""
    return "" if shutil.which(program) else f"{program} is not installed: sudo apt-get install {program}"


class Podman:
    """Podman with a home of its own, whose name is short: a runroot may have 50 characters."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="rl-", dir=os.environ.get("RL_TEST_TMP", "/var/tmp"))
        os.makedirs(f"{self.path}/run", mode=0o700)
        os.makedirs(f"{self.path}/.config/containers")
        for name, text in (
            ("containers.conf", _CONTAINERS),
            ("storage.conf", _STORAGE.format(path=self.path)),
            ("policy.json", _POLICY),
        ):
            with open(f"{self.path}/.config/containers/{name}", "w") as file:
                file.write(text)
        self.env: Mapping[str, str] = {
            "HOME": self.path,
            "XDG_RUNTIME_DIR": f"{self.path}/run",
            "TMPDIR": self.path,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
        }

    @staticmethod
    def missing() -> str:
        """Return why podman cannot run here, or an empty text."""
        if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            return missing("podman")
        return "podman needs cgroup v2 alone in /sys/fs/cgroup; started as root, the benches have one mounted"

    def argv(self, *arguments: str) -> tuple[str, ...]:
        return ("podman", *arguments)

    def call(self, *arguments: str) -> str:
        """Run podman and return what it printed on standard output.

        Raises:
            subprocess.CalledProcessError: it failed; what it said on standard error was seen.
        """
        done = subprocess.run(
            self.argv(*arguments),
            env=self.env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def pull(self, registry: Registry, image: str) -> str:
        """Pull from a registry without TLS and return the reference."""
        reference = registry.reference(image)
        self.call("pull", "-q", "--tls-verify=false", reference)
        return reference

    def remove(self) -> None:
        """End its containers and its pause process, and remove everything."""
        subprocess.run(
            self.argv("rm", "-a", "-f", "-t", "0"), env=self.env, cwd="/", stdout=subprocess.DEVNULL, check=False
        )
        for pause in (f"{self.path}/run/libpod/tmp/pause.pid", f"{self.path}/run/libpod/pause.pid"):
            if os.path.exists(pause):
                with open(pause) as file:
                    users.kill(int(file.read()), 0)
        users.remove_tree(self.path)


def crun_bundle(path: str, rootfs: str, *command: str) -> None:
    """Make an OCI bundle that ``crun run`` starts without root: the same namespaces as rl's, one id, no network."""
    subprocess.run(("crun", "spec", "--rootless"), cwd=path, check=True)
    with open(f"{path}/config.json") as file:
        spec = json.load(file)
    spec["process"]["terminal"] = False
    spec["process"]["args"] = list(command)
    spec["root"] = {"path": rootfs, "readonly": False}
    spec["linux"]["namespaces"].append({"type": "network"})
    with open(f"{path}/config.json", "w") as file:
        json.dump(spec, file)


def bwrap(rootfs: str, *command: str) -> tuple[str, ...]:
    """Return a command that runs ``command`` in namespaces made by bubblewrap."""
    return (
        *("bwrap", "--unshare-all", "--die-with-parent", "--bind", rootfs, "/"),
        *("--proc", "/proc", "--dev", "/dev", "--", *command),
    )
