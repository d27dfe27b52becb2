"""One test's own world: a home, a store, a runtime directory; and the installed ``rl`` run in it."""

from __future__ import annotations

import base64
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple, cast

from tests.support import users
from tests.support.registry import Registry


class Result(NamedTuple):
    """How a command ended; ``code`` is negative where a signal ended it."""

    code: int
    stdout: str
    stderr: str


class Home:
    """A home directory with rl's data, runtime and configuration directories in it.

    It is under /var/tmp, which is on a disk where /tmp is often a tmpfs, and short: a socket's path has 107 bytes.
    """

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="rl-", dir=os.environ.get("RL_TEST_TMP", "/var/tmp"))
        self.data = f"{self.path}/d"
        self.runtime = f"{self.path}/r"
        self.config = f"{self.path}/c"
        self.env = {
            "HOME": self.path,
            "RL_DATA": self.data,
            "RL_RUNTIME": self.runtime,
            "RL_CONFIG": self.config,
            "PATH": f"{os.path.dirname(sys.executable)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "USER": users.me().name,
        }

    def configure(self, **settings: object) -> None:
        """Write config.toml: strings and lists of strings, whose TOML is JSON's."""
        os.makedirs(self.config, mode=0o700, exist_ok=True)
        with open(f"{self.config}/config.toml", "w") as f:
            f.writelines(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())

    def trust(self, registry: Registry) -> None:
        """Let rl know the registry's CA."""
        if registry.ca:
            self.configure(registry_ca=[registry.ca])
        else:
            self.configure(insecure_registries=[registry.host])

    def log_in(self, registry: Registry) -> None:
        """Trust the registry and write its password where Docker's client writes it."""
        self.trust(registry)
        auth = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
        os.makedirs(f"{self.path}/.docker", mode=0o700, exist_ok=True)
        with open(f"{self.path}/.docker/config.json", "w") as f:
            json.dump({"auths": {registry.host: {"auth": auth}}}, f)

    def processes(self) -> list[tuple[int, int]]:
        """Return (pid, start time) of each monitor, container and holder on record, holders last."""
        found: list[tuple[int, int]] = []
        for path in (*glob.glob(f"{self.data}/containers/*/state.json"), *glob.glob(f"{self.runtime}/holder-*.json")):
            try:
                with open(path) as f:
                    record: dict[str, Any] = json.load(f)
            except (OSError, ValueError):
                continue
            pairs = (("monitor", "monitor_start"), ("pid", "pid_start"), ("pid", "start"))
            found += [(record[pid], record[start]) for pid, start in pairs if record.get(pid) and start in record]
        return found

    def remove(self) -> None:
        """Kill what still runs and remove everything."""
        for pid, start in self.processes():
            users.kill(pid, start)
        users.remove_tree(self.path)


class Rl:
    """Run ``rl`` in a home as a user would: ``rl("run", "--rm", "busybox", "true").code``."""

    def __init__(self, home: Home) -> None:
        self.home = home
        installed = shutil.which("rl", path=os.path.dirname(sys.executable))
        self.argv: tuple[str, ...] = (installed,) if installed else (sys.executable, "-m", "rootless")

    def __call__(
        self,
        *arguments: str,
        stdin: str | bytes | None = None,
        timeout: float = 60,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
    ) -> Result:
        """Run to the end and return what it printed.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds and was killed.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        done = subprocess.run(
            (*self.argv, *arguments),
            **given,
            capture_output=True,
            timeout=timeout,
            env={**self.home.env, **(env or {})},
            cwd=cwd or self.home.path,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def ok(self, *arguments: str, **options: Any) -> str:
        """Run, insist on exit code 0, and return standard output without its last newline."""
        result = self(*arguments, **options)
        assert result.code == 0, f"rl {' '.join(arguments)} exited with {result.code}:\n{result.stdout}{result.stderr}"
        return result.stdout.removesuffix("\n")

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start it and return at once; its standard streams are pipes unless said otherwise."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        env = {**self.home.env, **options.pop("env", {})}
        settings: dict[str, Any] = {**streams, "cwd": self.home.path, **options}
        return cast("subprocess.Popen[bytes]", subprocess.Popen((*self.argv, *arguments), env=env, **settings))
