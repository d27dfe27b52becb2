"""Which devices a container has and which files of /proc and /sys are kept from it."""

from __future__ import annotations

import os
import stat

import pytest

from rootless.isolation import devices, masks


@pytest.mark.parametrize("device", devices.DEVICES, ids=lambda d: d.path)
def test_default_devices_have_the_kernels_numbers(device: devices.Device) -> None:
    if not os.path.exists(device.path):
        pytest.skip(f"{device.path} does not exist here")
    status = os.stat(device.path)
    assert stat.S_ISCHR(status.st_mode)
    assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (device.major, device.minor)


def test_the_names_in_dev_are_those_of_every_container() -> None:
    names = {d.path for d in devices.DEVICES} | {s.path for s in devices.SYMLINKS}
    assert names == {
        f"/dev/{name}" for name in "null zero full random urandom tty fd stdin stdout stderr ptmx core".split()
    }


def test_masks_are_of_proc_and_sys_and_none_is_within_another() -> None:
    paths = (*masks.MASKED, *masks.READONLY)
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert path.startswith(("/proc/", "/sys/"))
        assert not any(path.startswith(f"{other}/") for other in paths)
