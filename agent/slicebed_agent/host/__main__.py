"""``python -m slicebed_agent.host``: the held channel's far end, the dead-man timer, and the verbs for a person."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError, OneLineError
from slicebed_agent.host import deadman, state, verbs
from slicebed_agent.host.service import Service

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the error's own."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except OneLineError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slicebed-host", description="Conditions of this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="answer lines of JSON on standard input until it ends")
    serve.set_defaults(run=_serve)
    timer = commands.add_parser("deadman", help="be the dead-man timer of an apply")
    timer.add_argument("--token", required=True)
    timer.add_argument("--directory", type=Path, default=deadman.DIRECTORY)
    timer.add_argument("--state", type=Path, default=state.DIRECTORY)
    timer.set_defaults(run=_deadman)
    ask = commands.add_parser("ask", help="one verb with its request as JSON, for a person on the host")
    ask.add_argument("verb", choices=sorted(verbs.handlers()))
    ask.add_argument("request", nargs="?", default="{}")
    ask.set_defaults(run=_ask)
    return parser


def _serve(_: argparse.Namespace) -> None:
    # Answers own standard output: whatever else would be printed there goes to standard error.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Service(verbs.handlers(), answers).serve(sys.stdin.buffer)


def _deadman(options: argparse.Namespace) -> None:
    deadman.DeadMan(options.directory).wait(options.token, lambda: verbs.restore_from(options.state))


def _ask(options: argparse.Namespace) -> None:
    try:
        request = json.loads(options.request)
    except ValueError as error:
        raise HostError(
            f"the request is not JSON: {error}", mend='allowed: a mapping such as {"wish": {...}}'
        ) from error
    if not isinstance(request, dict):
        raise HostError("the request is no mapping", mend='allowed: a mapping such as {"wish": {...}}')
    try:
        answer = verbs.handlers()[options.verb](request)
    except KeyError as error:
        raise HostError(f"the request lacks {error}", where=options.verb) from error
    print(json.dumps(answer, indent=1))  # noqa: T201 - its answer


if __name__ == "__main__":
    sys.exit(main())
