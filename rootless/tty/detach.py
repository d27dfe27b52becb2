"""The keys that detach a terminal from a container."""

from __future__ import annotations

from rootless.errors import UsageError


def parse(text: str) -> bytes:
    """Return the bytes of a sequence as ``ctrl-p,ctrl-q`` or ``a,b``; "" means that no keys detach.

    Raises:
        UsageError: a key is neither one character nor ``ctrl-`` and one.
    """
    keys = bytearray()
    for key in text.split(",") if text else ():
        last = key[-1:].lower()
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key.lower().startswith("ctrl-") and len(key) == 6 and last in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(last.upper()) ^ 0x40)
        else:
            raise UsageError(f"invalid detach keys ({text}): Unknown character: '{key}'")
    return bytes(keys)


class DetachKeys:
    """Finds the sequence in what is typed, in whatever pieces it comes."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what is to be passed on, and whether the sequence is complete; what follows it is dropped.

        The first keys of the sequence are held back until it is clear that they are not it.
        """
        if not self._sequence:
            return data, False
        passed = bytearray()
        for byte in data:
            self._held += bytes((byte,))
            while not self._sequence.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._sequence:
                self._held = b""
                return bytes(passed), True
        return bytes(passed), False
