"""A container whose record is damaged: the others are listed, and it can be removed."""

from __future__ import annotations

from tests.support.box import Box


def test_a_damaged_record_hides_no_other_container_and_can_be_removed(box: Box) -> None:
    good = box.ok("create", "--network", "none", "--name", "good", "busybox", "true")
    bad = box.ok("create", "--network", "none", "--name", "bad", "busybox", "true")
    path = f"{box.home.data}/containers/{bad}/container.json"
    with open(path, "w") as file:
        file.write('{"id": "half')

    listed = box("ps", "-aq")
    assert listed.stdout == f"{good[:12]}\n"
    assert f"the record of container {bad[:12]} is damaged" in listed.stderr

    refused = box("rm", "bad")
    assert refused.code == 1
    assert f"rl rm -f {bad[:12]}" in refused.stderr

    assert box("rm", "-f", "bad").code == 0
    assert box("ps", "-aq") == (0, f"{good[:12]}\n", "")
    assert box.ok("create", "--network", "none", "--name", "bad", "busybox", "true")
