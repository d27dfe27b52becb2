"""Frames of the control socket: whole messages with their descriptors, however they arrive."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless import errors
from rootless.errors import CommandNotFound, RlError
from rootless.runtime import control
from rootless.runtime.control import Connection

#: No deadline on a busy machine; no database where the tests may not write.
QUIET = settings(deadline=None, database=None, max_examples=50)
Ends = tuple[Connection, Connection]


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = control.pair()
    yield pair
    for end in pair:
        end.close()


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@QUIET
@given(st.lists(st.dictionaries(st.text(), values, max_size=4), min_size=1, max_size=5))
def test_messages_arrive_in_order_and_whole(messages: list[dict[str, Any]]) -> None:
    one, other = control.pair()
    try:
        for message in messages:
            one.send(message)
        for message in messages:
            received = other.receive()
            assert received is not None
            assert received == (message, [])
    finally:
        one.close()
        other.close()


def test_descriptors_come_with_their_message(ends: Ends) -> None:
    read, write = os.pipe()
    ends[0].send({"n": 1})
    ends[0].send({"n": 2}, (write,))
    os.close(write)
    assert ends[1].receive() == ({"n": 1}, [])
    received = ends[1].receive()
    assert received is not None
    message, (passed,) = received
    assert message == {"n": 2}
    assert not os.get_inheritable(passed)
    os.write(passed, b"x")
    assert os.read(read, 1) == b"x"
    os.close(passed)
    os.close(read)


def test_a_message_may_come_in_pieces() -> None:
    raw, far = socket.socketpair()
    connection = Connection(far)  # type: ignore[arg-type]
    body = json.dumps({"event": "x"}).encode()
    data = struct.pack(">IB", len(body), 0) + body
    for position in range(len(data)):
        assert connection.take() is None
        raw.send(data[position : position + 1])
        assert connection.feed()
    assert connection.take() == ({"event": "x"}, [])
    raw.close()
    assert not connection.feed()
    assert connection.receive() is None
    connection.close()


def test_a_message_that_is_too_large_is_refused() -> None:
    raw, far = socket.socketpair()
    connection = Connection(far)  # type: ignore[arg-type]
    raw.send(struct.pack(">IB", control.MAX_MESSAGE + 1, 0))
    assert connection.feed()
    with pytest.raises(RlError, match="too large"):
        connection.take()
    raw.close()
    connection.close()


def test_a_peer_that_is_gone_raises_and_does_not_signal(ends: Ends) -> None:
    ends[1].close()
    with pytest.raises(BrokenPipeError):
        ends[0].send({})


def test_descriptors_that_nobody_took_are_closed() -> None:
    one, other = control.pair()
    read, write = os.pipe()
    one.send({}, (write,))
    os.close(write)
    assert other.feed()
    other.close()
    assert os.read(read, 1) == b""
    os.close(read)
    one.close()


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """unix(7) allows 108 bytes."""
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    listener = control.listen(str(directory))
    client = control.connect(str(directory))
    server = control.accept(listener)
    client.send({"hello": 1})
    assert server.receive() == ({"hello": 1}, [])
    for end in (client, server):
        end.close()
    listener.close()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    control.listen(str(tmp_path)).close()
    with pytest.raises(ConnectionRefusedError):
        control.connect(str(tmp_path))
    control.listen(str(tmp_path)).close()


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        control.connect(str(tmp_path))


def test_an_error_comes_back_as_itself() -> None:
    revived = control.revive(control.describe(CommandNotFound("no", hint="yes")))
    assert isinstance(revived, CommandNotFound)
    assert (revived.message, revived.hint, revived.exit_code) == ("no", "yes", 127)


def test_an_error_of_a_kind_that_is_unknown_is_still_one() -> None:
    message = {**control.describe(RlError("x")), "kind": "NoSuchError"}
    assert type(control.revive(message)) is RlError


def test_the_kind_names_an_error_and_nothing_else() -> None:
    """The module has other names, which a message must not reach."""
    for name in vars(errors):
        assert isinstance(control.revive({**control.describe(RlError("x")), "kind": name}), RlError)


def test_a_message_that_is_no_json_is_passed_over() -> None:
    raw, far = socket.socketpair()
    connection = Connection(far)  # type: ignore[arg-type]
    raw.send(struct.pack(">IB", 3, 0) + b"{{{" + struct.pack(">IB", 2, 0) + b"{}")
    assert connection.feed()
    with pytest.raises(ValueError):
        connection.take()
    assert connection.take() == ({}, [])
    raw.close()
    connection.close()
