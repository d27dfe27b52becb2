"""Spans and moments, as Docker words and reads them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli import durations
from rootless.cli.durations import SECOND
from rootless.errors import UsageError

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (-5, "Less than a second"),
        (SECOND - 1, "Less than a second"),
        (SECOND, "1 second"),
        (59 * SECOND, "59 seconds"),
        (MINUTE, "About a minute"),
        (2 * MINUTE, "2 minutes"),
        (59 * MINUTE, "59 minutes"),
        (HOUR, "About an hour"),
        (89 * MINUTE, "About an hour"),
        (90 * MINUTE, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
    ],
)
def test_a_span_is_worded_as_docker_does(span: int, words: str) -> None:
    assert durations.human(span) == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("42m", 42 * MINUTE),
        ("1h30m", 90 * MINUTE),
        ("1.5s", 1_500_000_000),
        ("-2s", -2 * SECOND),
        ("300ms", 300_000_000),
        ("1µs", 1000),
        (".5h", 30 * MINUTE),
    ],
)
def test_a_duration_is_gos(text: str, expected: int) -> None:
    assert durations.duration(text) == expected


@pytest.mark.parametrize("text", ["", "1", "m", "1d", "--1s", "+-1s", "1.s.", "1h30", ".s", "1 s"])
def test_a_bad_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        durations.duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", 1_000_000 * SECOND - 10 * MINUTE),
        ("1136073600", 1136073600 * SECOND),
        ("1136073600.000000001", 1136073600 * SECOND + 1),
        ("2006-01-02T15:04:05Z", 1136214245 * SECOND),
        ("2006-01-02T15:04:05.25Z", 1136214245 * SECOND + SECOND // 4),
        ("2006-01-02T17:04:05+02:00", 1136214245 * SECOND),
        ("2006-01-02T15:04Z", 1136214240 * SECOND),
        ("2006-01-02Z", 1136160000 * SECOND),
    ],
)
def test_a_moment_is_a_span_a_number_or_a_date(text: str, expected: int) -> None:
    assert durations.moment("since", text, 1_000_000 * SECOND) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2006-13-01", "2006-02-30T00:00:00Z", "2006-01-02T25:00:00Z", "2006-01-02T15:04:05+2", "1.x"],
)
def test_a_bad_moment_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="failed to parse value as time or duration"):
        durations.moment("since", text, 0)


@given(st.datetimes(timezones=st.just(datetime.timezone.utc)))
def test_every_date_agrees_with_the_standard_library(moment: datetime.datetime) -> None:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    expected = (moment - epoch) // datetime.timedelta(microseconds=1) * 1000
    assert durations.moment("since", moment.isoformat(), 0) == expected


def test_a_date_without_a_zone_is_local() -> None:
    local = datetime.datetime(2006, 1, 2, 15, 4, 5).astimezone()
    assert durations.moment("since", "2006-01-02T15:04:05", 0) == int(local.timestamp()) * SECOND


@given(st.text(alphabet="0123456789-:.TZ+hms ", max_size=24))
def test_nothing_but_a_usage_error_comes_of_nonsense(text: str) -> None:
    try:
        durations.moment("since", text, 0)
    except UsageError:
        pass
