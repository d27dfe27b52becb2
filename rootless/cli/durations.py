"""Spans and moments of time, as people write them and as Docker prints them. Integer nanoseconds throughout."""

from __future__ import annotations

import time

from rootless.errors import UsageError
from rootless.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

SECOND: Final = 1_000_000_000
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_DIGITS: Final = frozenset("0123456789")


def human(nanoseconds: int) -> str:
    """Return a span as Docker words it: "About a minute", "3 weeks"."""
    seconds = max(nanoseconds, 0) // SECOND
    minutes = seconds // 60
    # Docker rounds hours to the nearest.
    hours = (seconds + 1800) // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def duration(text: str) -> int:
    """Return nanoseconds for ``1h30m``, ``1.5s``, ``-5m`` or ``0``.

    Raises:
        ValueError: it is not a duration.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-") if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest or text[1:2] in ("+", "-"):
        raise ValueError(text)
    total = 0
    while rest:
        number = _take(rest, _DIGITS | {"."})
        rest = rest[len(number) :]
        unit = _take_unit(rest)
        rest = rest[len(unit) :]
        whole, dot, fraction = number.partition(".")
        if unit not in _UNITS or not whole + fraction or "." in fraction:
            raise ValueError(text)
        total += int(whole or "0") * _UNITS[unit]
        if dot and fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
    return sign * total


def _take(text: str, characters: frozenset[str]) -> str:
    end = 0
    while end < len(text) and text[end] in characters:
        end += 1
    return text[:end]


def _take_unit(text: str) -> str:
    end = 0
    while end < len(text) and text[end] not in _DIGITS and text[end] != ".":
        end += 1
    return text[:end]


def moment(flag: str, text: str, now: int) -> int:
    """Return the moment that ``--since`` or ``--until`` means, in nanoseconds since 1970.

    ``text`` is a span before ``now`` (``42m``), a Unix time (``1700000000.5``), or a date and time of
    RFC 3339, whose zone may be left out (local time) and whose end too (``2024-05-01``, ``2024-05-01T10:00``).
    """
    try:
        return now - duration(text)
    except ValueError:
        pass
    whole, _, fraction = text.partition(".")
    try:
        if _is_number(whole) and (not fraction or _is_number(fraction)):
            return int(whole) * SECOND + int((fraction + "0" * 9)[:9])
        return _calendar(text)
    except ValueError:
        raise UsageError(
            f'invalid value for "{flag}": failed to parse value as time or duration: "{text}"',
            hint="write for example 42m, 2024-05-01T10:00:00Z or a Unix time",
        ) from None


def _is_number(text: str) -> bool:
    return bool(text) and _DIGITS.issuperset(text)


def _calendar(text: str) -> int:
    date, _, clock = text.replace("t", "T").replace(" ", "T").partition("T")
    zone: int | None = None
    if clock[-1:] in ("Z", "z"):
        clock, zone = clock[:-1], 0
    elif date[-1:] in ("Z", "z") and not clock:
        date, zone = date[:-1], 0
    elif len(clock) > 6 and clock[-6] in "+-" and clock[-3] == ":":
        sign = -1 if clock[-6] == "-" else 1
        zone = sign * (_field(clock[-5:-3], 2, 23) * 3600 + _field(clock[-2:], 2, 59) * 60)
        clock = clock[:-6]
    parts = date.split("-")
    if len(parts) != 3:
        raise ValueError(text)
    year, month, day = _field(parts[0], 4, 9999), _field(parts[1], 2, 12), _field(parts[2], 2, 31)
    if not month or not day or day > _days_in(year, month):
        raise ValueError(text)
    clock, _, fraction = clock.partition(".")
    hms = clock.split(":") if clock else []
    if len(hms) not in (0, 2, 3) or (fraction and (len(hms) != 3 or not _is_number(fraction))):
        raise ValueError(text)
    limits = (23, 59, 59)
    hour, minute, second = (_field(hms[i], 2, limits[i]) if i < len(hms) else 0 for i in range(3))
    if zone is None:
        seconds = int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
    else:
        seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone
    return seconds * SECOND + int((fraction + "0" * 9)[:9])


def _field(text: str, width: int, most: int) -> int:
    if len(text) != width or not _is_number(text) or int(text) > most:
        raise ValueError(text)
    return int(text)


def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _days(year: int, month: int, day: int) -> int:
    """Return days from 1970-01-01 in the proleptic Gregorian calendar; years begin in March here."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
