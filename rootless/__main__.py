"""``python -m rootless`` is ``rl``."""

from rootless.cli.main import entry

if __name__ == "__main__":
    entry()
