"""The hot verbs load nothing slow on their way to the engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.home import Home, Rl

_FORBIDDEN = frozenset(
    (
        "typer rich requests click dataclasses subprocess pathlib tempfile shutil logging argparse datetime asyncio "
        "socket urllib http email inspect difflib traceback importlib.metadata csv getpass"
    ).split()
)


def slow(loaded: Iterable[str]) -> set[str]:
    """Return those of the modules that a hot verb must not load."""
    return {name for name in loaded if name in _FORBIDDEN or name.partition(".")[0] in _FORBIDDEN}


_CODE = """
import sys
class Engine:
    called = False
    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        def call(*arguments, **keywords):
            Engine.called = True
            return () if name == "list_containers" else 0
        return call
for name in ("run", "containers"):
    sys.modules["rootless.engine." + name] = Engine()
before = set(sys.modules)
from rootless.cli.main import main
code = main(sys.argv[1:])
loaded = sorted(set(sys.modules) - before)
import json
sys.stderr.write(json.dumps([code, Engine.called, loaded]))
"""


@pytest.mark.parametrize(
    "line",
    [
        "run --rm -i -e A=1 -v /a:/b --mount type=tmpfs,target=/t --name x busybox true",
        "exec -e A=1 web true",
        "ps",
        "ps -aq",
        "logs --since 2024-01-01T00:00:00Z --tail 5 web",
        "create busybox",
        "start web",
        "stop -t 1 web",
        "kill web",
        "rm -f web",
        "wait web",
        "attach web",
    ],
)
def test_a_hot_verb_loads_nothing_slow(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *line.split()], capture_output=True, text=True, check=True, timeout=60
    )
    code, called, loaded = json.loads(done.stderr)
    print(f"rl {line}: {len(loaded)} modules: {' '.join(loaded)}")
    assert called
    assert code == 0
    assert slow(loaded) == set()


_REAL = """
import sys
before = set(sys.modules)
import rootless.cli.main
import rootless.engine.run, rootless.engine.containers
code = rootless.cli.main.main(["ps", "-a"])
loaded = sorted(set(sys.modules) - before)
import json
sys.stderr.write(json.dumps([code, loaded]))
"""


def test_ps_and_the_engine_itself_load_nothing_slow(tmp_path: Path) -> None:
    places = {"RL_DATA": f"{tmp_path}/data", "RL_RUNTIME": f"{tmp_path}/run", "RL_CONFIG": f"{tmp_path}/config"}
    done = subprocess.run(
        [sys.executable, "-c", _REAL],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, **places},
    )
    code, loaded = json.loads(done.stderr)
    print(f"rl ps: {len(loaded)} modules: {' '.join(loaded)}")
    assert code == 0
    assert slow(loaded) == set()


@pytest.mark.namespaces
@pytest.mark.usefixtures("namespaces")
def test_run_loads_nothing_slow_from_end_to_end(home: Home) -> None:
    rl = Rl(home)
    rl.argv = (sys.executable, "-X", "importtime", "-c", "from rootless.cli.main import entry; entry()")
    for _ in range(2):  # the first run unpacks the image
        done = rl("run", "--rm", "--network", "none", "rl/hello")
        assert done.code == 0, done.stderr[-1000:]
    loaded = {text.rpartition("|")[2].strip() for text in done.stderr.splitlines() if text.startswith("import time:")}
    print(f"rl run: {len(loaded)} modules: {' '.join(sorted(loaded))}")
    assert "rootless.engine.run" in loaded
    assert slow(loaded) == set()
