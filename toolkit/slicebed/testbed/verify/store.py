"""Verdicts kept beside the wishes they belong to, so that every run that follows can carry them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError
from slicebed.testbed.verify.verdict import parse_verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.testbed.verify.verdict import Verdict

_FORMAT = 1


@dataclass(frozen=True)
class Verification:
    """One `slicebed verify`: what was measured, when, and under which wishes.

    Attributes:
        when: when it ended, with its time zone.
        wish_digest: `digest` of the wishes that were applied.
        verdicts: in the order they were given.
    """

    when: datetime
    wish_digest: str
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every verdict passed, and there is one."""
        return bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "format": _FORMAT,
            "when": self.when.isoformat(),
            "wish_digest": self.wish_digest,
            "passed": self.passed,
            "verdicts": [verdict.to_plain() for verdict in self.verdicts],
        }


def digest(wishes: object) -> str:
    """SHA-256, in hexadecimal, of the wishes' JSON with sorted keys and no spaces: equal wishes, equal digest."""
    canonical = json.dumps(wishes, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_verdicts(path: Path, verdicts: Sequence[Verdict], wish_digest: str, when: datetime) -> None:
    """Write the file as a whole or not at all; an older one is replaced.

    Raises:
        SpecError: `when` has no time zone.
        OSError: the directory cannot be written.
    """
    if when.tzinfo is None:
        raise SpecError(f"{when.isoformat()} has no time zone", where=str(path), mend="give the time in UTC")
    text = json.dumps(Verification(when, wish_digest, tuple(verdicts)).to_plain(), indent=1, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_verdicts(path: Path) -> Verification:
    """Read what `write_verdicts` wrote.

    Raises:
        FileNotFoundError: nothing was verified yet.
        SpecError: the file is damaged or of another version.
    """
    try:
        return _parse(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise SpecError(f"damaged: {error!r}", where=str(path), mend="run slicebed verify") from error
    except SpecError as error:
        raise SpecError(error.what, where=str(path), mend=error.mend) from error


def _parse(plain: object) -> Verification:
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise SpecError("not a file of verdicts of this version", mend="run slicebed verify")
    verdicts = tuple(parse_verdict(each) for each in plain["verdicts"])
    return Verification(datetime.fromisoformat(plain["when"]), str(plain["wish_digest"]), verdicts)
