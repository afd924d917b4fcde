"""Print, as JSON, the commands that EnosLib would have Ansible run on one host; runs in EnosLib's own venv.

The calls are those of `enoslib.service.emul.htb.netem_htb` up to where it hands the commands to Ansible's raw module:
`HTBSource.add_constraint`, then `_combine(*_build_commands(sources), chunk_size=100)`.
"""

import json
import sys

from enoslib.objects import Host  # type: ignore[import-not-found]
from enoslib.service.emul.htb import HTBSource  # type: ignore[import-not-found]
from enoslib.service.emul.utils import _build_commands, _combine  # type: ignore[import-not-found]

_CHUNK_SIZE = 100  # the default of netem_htb


def main() -> None:
    """Read a list of constraints from standard input and print the list of shell lines."""
    source = HTBSource(Host("192.0.2.1", alias="host"))
    for constraint in json.load(sys.stdin):
        source.add_constraint(**constraint)
    json.dump(_combine(*_build_commands([source]), chunk_size=_CHUNK_SIZE)["host"], sys.stdout)


if __name__ == "__main__":
    main()
