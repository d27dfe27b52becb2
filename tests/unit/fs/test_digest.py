"""Digests: the text form is strict, and what passes through a verifier is what was expected."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from fs.digest import Digest, Verifier, chain_ids
from rootless.errors import BadImage

HEX = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


@pytest.mark.parametrize("text", [f"sha256:{HEX}", "sha512:" + "0" * 128], ids=["sha256", "sha512"])
def test_a_digest_is_read_and_written_unchanged(text: str) -> None:
    """str is the inverse of parse."""
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"SHA256:{HEX}",
        f"md5:{HEX[:32]}",
        f"sha256:{HEX[:-1]}\n",
        f"sha256:{HEX}\n",
        "sha256:" + "../" * 21 + "a",
        f"sha512:{HEX}",
        "sha256:" + "٣" * 64,
        None,
        7,
        {"sha256": HEX},
    ],
    ids=repr,
)
def test_what_is_no_digest_is_refused(text: object) -> None:
    """A digest becomes a file name, and it comes from strangers."""
    with pytest.raises(BadImage):
        Digest.parse(text)


def test_the_digest_of_small_data_is_its_sha256() -> None:
    """And it matches only that."""
    digest = Digest.of(b"x")
    assert digest == Digest("sha256", HEX)
    assert digest.matches(b"x")
    assert not digest.matches(b"y")
    assert Digest("sha512", hashlib.sha512(b"x").hexdigest()).matches(b"x")


def test_what_was_expected_passes() -> None:
    """In any pieces."""
    verifier = Verifier(Digest.of(b"abc"), 3)
    verifier.update(b"a")
    verifier.update(memoryview(b"bc"))
    verifier.finish()
    assert verifier.seen == 3


def test_other_content_is_refused() -> None:
    """The message has both digests."""
    verifier = Verifier(Digest.of(b"abc"))
    verifier.update(b"abd")
    with pytest.raises(BadImage, match=str(Digest.of(b"abd"))):
        verifier.finish()


def test_more_than_was_announced_is_refused_at_once() -> None:
    """A hostile server must not fill the disk first."""
    verifier = Verifier(Digest.of(b"abc"), 3)
    with pytest.raises(BadImage, match="longer"):
        verifier.update(b"abcd")


def test_less_than_was_announced_is_refused() -> None:
    """With the sizes, which say more than a wrong digest."""
    verifier = Verifier(Digest.of(b"abc"), 3)
    verifier.update(b"ab")
    with pytest.raises(BadImage, match="2 of 3"):
        verifier.finish()


def test_chain_ids_are_those_of_the_specification() -> None:
    """ChainID(A|B) = Digest(ChainID(A) + " " + DiffID(B)) (image-spec config.md)."""
    a, b, c = (Digest.of(text) for text in (b"a", b"b", b"c"))
    ab = Digest.of(f"{a} {b}".encode())
    assert chain_ids((a, b, c)) == (a, ab, Digest.of(f"{ab} {c}".encode()))
    assert chain_ids(()) == ()


def test_the_hot_path_loads_no_openssl() -> None:
    """Reading a manifest takes the interpreter's own sha256."""
    script = "import sys; from fs.digest import Digest; Digest.of(b'x'); print('_hashlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
