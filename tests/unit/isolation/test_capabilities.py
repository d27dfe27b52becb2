"""--cap-add, --cap-drop and --privileged as Docker combines them."""

from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.isolation import capabilities
from rootless.linux import caps

DEFAULT = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP "
    "CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SYS_CHROOT CAP_MKNOD CAP_AUDIT_WRITE CAP_SETFCAP"
).split()


def test_the_default_set_is_dockers() -> None:
    assert capabilities.names(capabilities.effective()) == tuple(DEFAULT)
    # What /proc/self/status says in a container of Docker's.
    assert capabilities.effective() == 0xA80425FB


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (["NET_ADMIN"], [], {*DEFAULT, "CAP_NET_ADMIN"}),
        (["cap_net_admin"], [], {*DEFAULT, "CAP_NET_ADMIN"}),
        (["Net_Admin", "CHOWN"], [], {*DEFAULT, "CAP_NET_ADMIN"}),
        ([], ["MKNOD", "cap_kill"], set(DEFAULT) - {"CAP_MKNOD", "CAP_KILL"}),
        ([], ["SYS_TIME"], set(DEFAULT)),
        ([], ["ALL"], set()),
        (["chown"], ["all"], {"CAP_CHOWN"}),
        (["MKNOD"], ["MKNOD"], set(DEFAULT)),
        (["ALL"], ["CHOWN"], {f"CAP_{name}" for name in caps.NUMBERS if name != "CHOWN"}),
        (["ALL"], ["ALL"], {f"CAP_{name}" for name in caps.NUMBERS}),
        (["ALL", "CHOWN"], [], {f"CAP_{name}" for name in caps.NUMBERS}),
    ],
)
def test_options_combine_as_docker_does(add: list[str], drop: list[str], expected: set[str]) -> None:
    assert set(capabilities.names(capabilities.effective(add, drop))) == expected


def test_privileged_is_everything() -> None:
    assert capabilities.effective([], ["ALL"], privileged=True) == caps.ALL


@pytest.mark.parametrize(
    ("add", "drop", "message"),
    [
        (["foo"], [], 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        ([], ["CAP_FOO"], 'invalid CapDrop: unknown capability: "CAP_FOO"'),
        ([""], [], 'invalid CapAdd: unknown capability: "CAP_"'),
    ],
)
@pytest.mark.parametrize("privileged", [False, True])
def test_an_unknown_name_is_refused_as_docker_does(
    add: list[str], drop: list[str], message: str, privileged: bool
) -> None:
    with pytest.raises(UsageError) as error:
        capabilities.effective(add, drop, privileged=privileged)
    assert error.value.message == message
    assert error.value.exit_code == 125


def test_names_and_masks_are_inverse() -> None:
    assert capabilities.mask(capabilities.names(caps.ALL)) == caps.ALL
    assert capabilities.mask(["CHOWN", "CAP_DAC_OVERRIDE"]) == 0b11
