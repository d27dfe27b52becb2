"""``--require`` makes a rung that is not reached an error."""

from __future__ import annotations

import pytest

from idmap import plan
from idmap.plan import HostIds
from idmap.subid import SubRange
from rootless.engine import requirements
from rootless.engine.ids import Ids
from rootless.errors import HostUnsupported, UsageError

ONE = HostIds("me", 1000, 1000)
MANY = ONE._replace(
    subuids=(SubRange(100000, 65536),),
    subgids=(SubRange(100000, 65536),),
    newuidmap="/usr/bin/newuidmap",
    newgidmap="/usr/bin/newgidmap",
)


def ids(host: HostIds) -> Ids:
    held = plan.holder(host)
    return Ids(host, held, plan.container(host, held))


def test_what_was_chosen_may_be_required() -> None:
    requirements.check(("ids=range", "storage=overlay", "net=none"), ids(MANY), "overlay", "none")
    requirements.check(("ids=one", "storage=plain", "net=container"), ids(ONE), "plain", "container:abc")


def test_a_lower_rung_is_an_error_that_says_what_lifts_it() -> None:
    with pytest.raises(HostUnsupported, match="ids=range: this host gives ids=one") as raised:
        requirements.check(("ids=range",), ids(ONE), "overlay", "none")
    assert "usermod --add-subuids" in (raised.value.hint or "")


@pytest.mark.parametrize("word", ["ids", "ids=two", "cgroup=memory", "="])
def test_what_does_not_exist_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="there is no"):
        requirements.check((word,), ids(MANY), "overlay", "none")
