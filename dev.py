#!/usr/bin/env python3
"""The two commands of a fresh clone; they need python3 (3.10 or later) and nothing else.

    python3 dev.py try     make an environment in .venv, install rl into it, run a container
    python3 dev.py test    run all tests

``test`` started as root installs the Debian packages that the tests use, makes two users (rl-test with subuid ranges,
rl-one without), installs a wheel where they can read it and runs the tests as rl-test, then those that make containers
as rl-one and as root. Started as anybody else it runs all tests as that user and says what could not be run. Further
arguments go to pytest: ``python3 dev.py test -k hardlink``.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

if sys.version_info < (3, 10):  # noqa: UP036 - whoever has an older one reads this
    sys.exit(f"rl needs Python 3.10 or later; {sys.executable} is {sys.version.split()[0]}")

from tests.support.machine import Stop, run, say

HERE = os.path.dirname(os.path.abspath(__file__))

#: pip for a Python that came without ensurepip (Debian splits it off into python3-venv).
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def main(arguments: list[str]) -> int:
    commands = {"try": try_, "test": test}
    if not arguments or arguments[0] not in commands:
        print(__doc__, end="")
        return 0 if arguments in (["-h"], ["--help"], ["help"]) else 2
    try:
        return commands[arguments[0]](arguments[1:])
    except Stop as e:
        print(f"dev.py: {e}", file=sys.stderr)
    except subprocess.CalledProcessError as e:
        print(f"dev.py: this failed with {e.returncode}: {' '.join(map(str, e.cmd))}", file=sys.stderr)
    return 1


# --- try ----------------------------------------------------------------------------------------


def try_(_: list[str]) -> int:
    """Make .venv, install, run the image that comes with rl, and say what to do next."""
    directory = f"{HERE}/.venv"
    python = environment(directory, sys.executable)
    say("installing rl and what it imports")
    pip(python, "-r", f"{HERE}/requirements.lock")
    pip(python, "--no-deps", "-e", HERE)
    rl = f"{directory}/bin/rl"
    say("rl run --rm rl/hello")
    code = subprocess.run((rl, "run", "--rm", "rl/hello"), check=False).returncode
    if code:
        raise Stop(f"the container ended with {code}; `{rl} info` tells what this host allows")
    say(f"it works. Next:\n     export PATH={directory}/bin:$PATH\n     rl run --rm -it debian bash\n     rl --help")
    return 0


# --- an environment -----------------------------------------------------------------------------


def environment(directory: str, python: str) -> str:
    """Return the Python of the virtual environment ``directory``, which gets a pip and is made unless it is there."""
    inside = f"{directory}/bin/python"
    if _imports(inside, "pip"):
        return inside
    say(f"making an environment in {directory}")
    if not _imports(python, "venv"):
        raise Stop(f"{python} has no venv module: sudo apt-get install python3")
    if _imports(python, "ensurepip; ensurepip.version()"):
        run(python, "-m", "venv", "--clear", directory)
        return inside
    run(python, "-m", "venv", "--clear", "--without-pip", directory)
    with tempfile.TemporaryDirectory() as temporary:
        wheel = f"{temporary}/{PIP_WHEEL}"
        _fetch_pip(wheel)
        run(inside, f"{wheel}/pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", wheel)
    return inside


def pip(python: str, *arguments: str) -> None:
    run(python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input", *arguments)


def _imports(python: str, module: str) -> bool:
    """Tell whether ``python`` is there and can import ``module``."""
    command = (python, "-c", f"import {module}")
    try:
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def _pip_settings() -> dict[str, str]:
    """Return pip's index-url, find-links and cert, as pip itself would find them (pip's "Configuration")."""
    settings: dict[str, str] = {}
    home = os.path.expanduser("~")
    system = [f"{d}/pip/pip.conf" for d in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    user = os.environ.get("XDG_CONFIG_HOME", f"{home}/.config")
    files = [
        *system,
        "/etc/pip.conf",
        f"{home}/.pip/pip.conf",
        f"{user}/pip/pip.conf",
        os.environ.get("PIP_CONFIG_FILE", ""),
    ]
    for path in filter(os.path.isfile, files):
        parser = configparser.RawConfigParser()
        parser.read(path)
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update(parser.items(section))
    for key in ("index-url", "find-links", "cert"):
        if value := os.environ.get(f"PIP_{key.replace('-', '_').upper()}"):
            settings[key] = value
    return settings


def _fetch_pip(target: str) -> None:
    """Write pip's wheel to ``target``: from a directory of find-links, else from the index (PEP 691)."""
    settings = _pip_settings()
    for directory in settings.get("find-links", "").split():
        if os.path.isfile(local := f"{directory.removeprefix('file://')}/{PIP_WHEEL}"):
            shutil.copy(local, target)
            break
    else:
        say("this Python has no ensurepip: fetching pip")
        page = f"{settings.get('index-url', 'https://pypi.org/simple').rstrip('/')}/pip/"
        listing = _get(page, settings, Accept="application/vnd.pypi.simple.v1+json").decode()
        with open(target, "wb") as f:
            f.write(_get(urllib.parse.urljoin(page, _link(listing, page)), settings))
    with open(target, "rb") as f:
        if hashlib.sha256(f.read()).hexdigest() != PIP_SHA256:
            raise Stop(f"{PIP_WHEEL} is not the file that its digest in dev.py says")


def _link(listing: str, page: str) -> str:
    """Find the wheel in a project's page, which a mirror may give as JSON or as HTML."""
    if listing.lstrip().startswith("{"):
        urls: list[str] = [file["url"] for file in json.loads(listing)["files"] if file["filename"] == PIP_WHEEL]
    else:
        urls = [part.partition('"')[0] for part in listing.split('href="') if f"{PIP_WHEEL}#" in part.partition('"')[0]]
    if not urls:
        raise Stop(f"{page} does not have {PIP_WHEEL}: sudo apt-get install python3-venv")
    return urls[0]


def _get(url: str, settings: dict[str, str], **headers: str) -> bytes:
    import base64
    import ssl

    parts = urllib.parse.urlsplit(url)
    if parts.username:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    context = ssl.create_default_context(cafile=settings.get("cert"))
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=60, context=context
        ) as answer:
            data: bytes = answer.read()
            return data
    except OSError as e:
        raise Stop(f"cannot fetch {url}: {e}") from e


# --- test ---------------------------------------------------------------------------------------


def test(arguments: list[str]) -> int:
    """Prepare the machine as far as it may be, run the tests, and close with one plain line."""
    from tests.support import machine, turns

    os.umask(0o022)
    root = os.getuid() == 0
    if root:
        machine.install_packages()
        machine.make_user(machine.WITH_RANGES, ranges=True)
        machine.make_user(machine.WITHOUT, ranges=False)
    missing = machine.missing()
    if missing:
        say(f"missing, so that some tests cannot run: sudo apt-get install {' '.join(missing)}")
    chosen = machine.readable_python() if root else sys.executable
    with turns.Workplace(HERE) as place:
        python = environment(place.environment(chosen), chosen)
        say("installing a wheel of this tree and the tools that the tests use")
        pip(python, "-r", f"{place.source}/requirements-dev.lock")
        pip(python, "--no-deps", "--no-index", "--force-reinstall", place.wheel(python))
        say("making the images (the first time takes minutes)")
        place.make_images(python)
        return turns.summary(turns.run_all(place, python, arguments), whole=not arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
