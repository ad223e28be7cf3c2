"""Both engines, for what must hold on each."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["tape", "compiled"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)
