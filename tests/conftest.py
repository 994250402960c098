"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real CTs and X-rays, where a mirror of the data lies beside the repository or XRCORE_DATA_MIRROR names one."""
    root = Path(os.environ.get("XRCORE_DATA_MIRROR", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "registry.csv").is_file():
        pytest.skip(f"real data not found: {root.name!r} beside the repository is absent and XRCORE_DATA_MIRROR is not set")
    return root
