from __future__ import annotations

import pytest

from tests.unit.cli.engine_fakes import FakeEngine, install


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    return install(monkeypatch)
