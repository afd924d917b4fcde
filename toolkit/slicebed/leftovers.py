"""Temporary folders of processes that were killed: named after their process, so that the next one can tell."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path


def own_name(prefix: str, suffix: str = "") -> str:
    """A new name that says which process it belongs to."""
    return f"{prefix}{os.getpid()}-{secrets.token_hex(4)}{suffix}"


def remove_left(folder: Path, prefix: str, suffix: str = "") -> None:
    """Remove this user's folders of such names in `folder` whose process is gone."""
    for left in folder.glob(f"{prefix}*{suffix}"):
        owner, dash, _ = left.name.removeprefix(prefix).partition("-")
        if dash and owner.isdecimal() and not Path("/proc", owner).exists() and left.stat().st_uid == os.getuid():
            shutil.rmtree(left, ignore_errors=True)
