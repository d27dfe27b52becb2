"""Names and ids of containers."""

from __future__ import annotations

import os

from rootless.errors import UsageError

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_MOODS = (
    "able airy apt bold brave breezy bright brisk calm candid chipper clear clever cosy crisp curious dapper "
    "daring deft eager earnest easy fair fancy fine fleet fond frank free fresh gentle glad golden grand great "
    "happy hardy hearty honest humble jolly keen kind lively loyal lucid lucky mellow merry mild modest neat "
    "nimble noble patient plucky polite prompt proud quick quiet rapid ready robust rosy serene sharp silent "
    "sleek smart snug sober solid spry steady sturdy subtle sunny swift tender tidy trim true upbeat vivid warm "
    "wise witty zesty"
).split()
_PEOPLE = (
    "abel archimedes babbage banach bell bernoulli bohr boole born bose brahe cantor carson cauchy chandra "
    "cocker codd conway copernicus crick curie darwin dedekind descartes dijkstra dirac easley eddington euclid "
    "euler faraday fermat fermi feynman fibonacci fourier franklin galileo galois gauss germain gibbs godel "
    "haber hamilton hawking heisenberg hermann hertz hilbert hooke hopper hubble huygens hypatia jacobi joule "
    "kepler khayyam kilby kirchhoff knuth kovalevskaya lagrange lamarr laplace leavitt leibniz liskov lorenz "
    "lovelace mach maxwell mendel mendeleev minkowski mirzakhani mitchell morse napier nash newton nightingale "
    "noether ohm pascal pasteur pauli pavlov payne perlman planck poincare ptolemy ramanujan rayleigh riemann "
    "ritchie rubin rutherford sagan shannon tesla thales thompson turing volta wallace watt weil wiles wing wu "
    "yalow yonath"
).split()


def new_id() -> str:
    """Return a random id of 64 hexadecimal digits; its short form is never all digits.

    An all-digit short form could be read as a number by those who parse our output.
    """
    while True:
        id_ = os.urandom(32).hex()
        if not id_[:12].isdigit():
            return id_


def suggest(attempt: int) -> str:
    """Return a random name; from the second attempt on it ends in a digit."""
    noise = os.urandom(5)
    mood = _MOODS[int.from_bytes(noise[:2], "big") % len(_MOODS)]
    person = _PEOPLE[int.from_bytes(noise[2:4], "big") % len(_PEOPLE)]
    return f"{mood}_{person}{noise[4] % 10 if attempt else ''}"


def check(name: str) -> str:
    """Return ``name`` without a leading slash if a container can have it.

    Raises:
        UsageError: it has a character that is not allowed, or is too short or long.
    """
    bare = name.removeprefix("/")
    if len(bare) < 2 or not is_possible(bare):
        raise UsageError(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def is_possible(text: str) -> bool:
    """Tell whether a container can be known by ``text``: a name, an id, or the beginning of one."""
    return 0 < len(text) <= 200 and text[0] not in "_.-" and _ALLOWED.issuperset(text)
