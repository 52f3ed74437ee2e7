"""Ten thousand samples of each chip on a bad bus."""

from __future__ import annotations

import pytest
from test_supervise import CASES, sample_with_faults


@pytest.mark.parametrize("name", CASES)
def test_ten_thousand_samples_with_faults(name: str) -> None:
    sample_with_faults(name, 10_000)
