"""The tests' sequences are short: chunks are made shorter still, so that every loop crosses from one to the next."""

import pytest

from dsl.run import frame


@pytest.fixture(autouse=True)
def chunks_of_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "CHUNK_ROWS", 8)
