"""Settings of one user: config.toml, each setting also as an environment variable, which wins."""

from __future__ import annotations

import os
import sys

from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final


class Settings(NamedTuple):
    """What can be configured; every field is a key of config.toml and, in capitals with RL_ before it, a variable.

    ``insecure_registries``: HOST[:PORT] that may speak plain HTTP or show an unknown certificate.
    ``registry_ca``: files of PEM certificates trusted for every registry, besides the system's.
    ``registry_mirrors``: URLs asked before docker.io for its images.
    ``storage_driver``: "" chooses by trying.
    ``max_parallel_layers``: how many layers of an image are downloaded and unpacked at once.
    ``registry_timeout``: seconds without a byte after which a registry counts as silent.
    """

    insecure_registries: tuple[str, ...] = ()
    registry_ca: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    storage_driver: str = ""
    max_parallel_layers: int = 4
    registry_timeout: int = 60


_DEFAULTS: Final = Settings()


def load(directory: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read ``directory``/config.toml, if there is one, and the environment.

    Raises:
        UsageError: the file is not TOML, or a setting is unknown or of the wrong kind.
    """
    path = os.path.join(directory, "config.toml")
    values: dict[str, Any] = {key: _check(key, value, path) for key, value in _read(path).items()}
    for key in Settings._fields:
        variable = f"RL_{key.upper()}"
        text = environ.get(variable)
        if text:
            values[key] = _check(key, _from_text(key, text, variable), variable)
    return Settings(**values)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as e:
        raise UsageError(f"cannot read {path!r}: {e.strerror}") from e
    # Imported here: most people have no config.toml.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        values: dict[str, Any] = tomllib.loads(data.decode())
        return values
    except ValueError as e:
        raise UsageError(f"{path!r} is not valid TOML: {e}") from e


def _from_text(key: str, text: str, variable: str) -> object:
    default = getattr(_DEFAULTS, key)
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError as e:
            raise UsageError(f"{variable} must be a number, not {text!r}") from e
    return text


def _check(key: str, value: object, source: str) -> object:
    if key not in Settings._fields:
        raise UsageError(f"{source}: unknown setting {key!r}", hint=f"known settings: {', '.join(Settings._fields)}")
    default = getattr(_DEFAULTS, key)
    if isinstance(default, tuple):
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(os.path.expanduser(item) if key == "registry_ca" else item for item in items)
        raise UsageError(f"{source}: {key} must be a list of strings")
    if isinstance(default, int):
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        raise UsageError(f"{source}: {key} must be a positive number")
    if isinstance(value, str):
        return value
    raise UsageError(f"{source}: {key} must be a string")
