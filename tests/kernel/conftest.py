"""These tests need the stock kernel that packaging/run-kernel-tests boots; elsewhere they say so and are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    own = [item for item in items if item.path.is_relative_to(HERE)]
    for item in own:
        item.add_marker(pytest.mark.kernel)
        if os.environ.get("SLICEBED_KERNEL_VM") != "1":
            item.add_marker(pytest.mark.skip(reason="needs the stock kernel of `make test-kernel`"))
