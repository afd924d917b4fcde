"""The agent's command line: serve, health, freeze, profile, train, train-exit, version."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed_agent import __version__
from slicebed_agent.errors import OneLineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.source import ModelSource


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with the error's own code when it fails."""
    options = _parser().parse_args(arguments)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=options.log_level,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    try:
        code = int(options.run(options) or 0)
    except OneLineError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slicebed-agent", description="Runs stages of a pipeline on a testbed host.")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="serve until SIGTERM"))

    health = commands.add_parser("health", help="exit 0 when the agent is serving, else 1")
    health.add_argument("--control", required=True, metavar="127.0.0.1:PORT")
    health.add_argument("--timeout", type=float, default=2.0, metavar="S")
    health.set_defaults(run=_health)

    freeze = commands.add_parser("freeze", help="freeze a model into a cache folder and print its file's hash as JSON")
    _add_model(freeze)
    freeze.add_argument("--cache", required=True, type=Path, metavar="DIR", help="folder of frozen models")
    freeze.set_defaults(run=_freeze)

    _add_profile(commands.add_parser("profile", help="measure how long a model and its parts take on this host"))

    train = commands.add_parser("train", help="train the model and replace the package's data files")
    train.add_argument("--seed", type=int, default=20201123)
    train.add_argument("--epochs", type=int, default=12)
    train.add_argument(
        "--out", type=Path, metavar="DIR", help="where the files go (default: the package's data folder)"
    )
    train.set_defaults(run=_train)

    _add_train_exit(commands.add_parser("train-exit", help="train an early-exit head behind a split point of a model"))

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--host", required=True, help="name of this testbed host, as in the inventory")
    serve.add_argument("--control", required=True, metavar="127.0.0.1:PORT", help="loopback address of Control")
    serve.add_argument(
        "--data", required=True, action="append", metavar="ADDR:PORT", help="address of the data plane; repeatable"
    )
    protection = serve.add_mutually_exclusive_group(required=True)
    protection.add_argument(
        "--tls", type=Path, metavar="DIR", help="ca.pem, cert.pem and key.pem: the data plane's mutual TLS"
    )
    protection.add_argument(
        "--plaintext", action="store_true", help="no TLS: anyone who reaches the data port may send frames"
    )
    serve.add_argument("--state-dir", required=True, type=Path, metavar="DIR", help="where samples and models are kept")
    serve.add_argument(
        "--model-bytes",
        type=_size,
        default=20 << 30,
        metavar="N",
        help="how much of model files to keep (default: %(default)s)",
    )
    serve.add_argument(
        "--grace", type=float, default=10.0, metavar="S", help="seconds to drain after SIGTERM (default: %(default)s)"
    )
    serve.set_defaults(run=_serve)


def _add_profile(profile: argparse.ArgumentParser) -> None:
    _add_model(profile)
    profile.add_argument("--out", required=True, type=Path, metavar="FILE.json", help="where the profile goes")
    profile.add_argument(
        "--level", default="op", choices=["op", "layer"], help="split points of operators, or only those between layers"
    )
    profile.add_argument(
        "--every", action="store_true", help="between all split points, not only where the whole model is not fused"
    )
    profile.add_argument("--cut", type=_names, default=(), metavar="A[,B...]", help="the slices of this cut instead")
    profile.add_argument(
        "--max-tensors", type=int, default=1, metavar="K", help="how many may cross a boundary (default: %(default)s)"
    )
    profile.add_argument(
        "--repeats", type=int, default=30, metavar="N", help="rounds, each runs everything once (default: %(default)s)"
    )
    profile.add_argument(
        "--cores", type=_cores, metavar="0,1", help="cores to run on (default: all that this process may use)"
    )
    profile.add_argument("--batch", type=int, default=1, metavar="N", help="frames in a run (default: %(default)s)")
    profile.add_argument(
        "--draw", type=int, default=0, metavar="N", help="draws the frame and the order (default: %(default)s)"
    )
    profile.add_argument("--memory", action="store_true", help="also run each part in a process of its own (slow)")
    profile.add_argument(
        "--operators", action="store_true", help="also the time of each operator, from TensorFlow's own trace"
    )
    profile.set_defaults(run=_profile)


def _add_train_exit(train_exit: argparse.ArgumentParser) -> None:
    train_exit.add_argument("model", metavar="MODEL", help="a zoo name, a .keras file, a SavedModel folder or a .pb")
    train_exit.add_argument("--after", required=True, metavar="POINT", help="split point whose tensors the head is fed")
    train_exit.add_argument("--out", required=True, type=Path, metavar="FILE.pb", help="the head; its card gets .json")
    train_exit.add_argument(
        "--data", type=Path, metavar="FILE.npz", help="pictures and labels (default: the package's digits)"
    )
    train_exit.add_argument("--seed", type=int, default=20201123)
    train_exit.add_argument("--epochs", type=int, default=40)
    train_exit.set_defaults(run=_train_exit)


def _add_model(parser: argparse.ArgumentParser) -> None:
    """The options that say which model, named as those of `slicebed model`."""
    parser.add_argument("model", metavar="MODEL", help="a zoo name, a .keras file, a SavedModel folder or a frozen .pb")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of a zoo model: file of weights")
    parser.add_argument("--seed", type=int, metavar="N", help="of a zoo model: draw its weights from this seed")
    parser.add_argument("--input-shape", type=_sizes, metavar="H,W,C", help="of one frame, without the batch")
    parser.add_argument("--input", action="append", metavar="NAME", help="where there are several; repeatable")
    parser.add_argument("--output", action="append", metavar="NAME", help="where there are several; repeatable")


def _model_of(options: argparse.Namespace) -> ModelSource:
    from slicebed_agent.model.source import ModelSource  # noqa: PLC0415 - the package needs numpy

    return ModelSource(
        options.model,
        weights=options.weights,
        seed=options.seed,
        input_shape=options.input_shape,
        inputs=tuple(options.input) if options.input else None,
        outputs=tuple(options.output) if options.output else None,
    )


def _serve(options: argparse.Namespace) -> None:
    from slicebed_agent import server  # noqa: PLC0415 - the other commands need neither gRPC nor numpy
    from slicebed_agent.rpc.flight import Security  # noqa: PLC0415 - as above

    server.serve(
        server.Options(
            host=options.host,
            control=options.control,
            data=tuple(options.data),
            security=Security.plaintext() if options.plaintext else Security.read(options.tls),
            state_dir=options.state_dir,
            model_bytes=options.model_bytes,
            grace_s=options.grace,
        )
    )


def _health(options: argparse.Namespace) -> int:
    from slicebed_agent.rpc import channel as channels  # noqa: PLC0415 - the other commands do not need gRPC

    with channels.open_channel(options.control) as channel:
        status = channels.ask_health(channel, options.timeout, wait=False)
    sys.stdout.write(status + "\n")
    return 0 if status == channels.SERVING else 1


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"no cut in {text!r}; name split points, separated by commas")
    return names


def _cores(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"no cores in {text!r}; give numbers, separated by commas")
    return tuple(map(int, numbers))


def _size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"not a number of bytes: {text!r}")
    return int(text)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.strip().isdecimal() for size in sizes):
        raise argparse.ArgumentTypeError(f"no shape in {text!r}; give sizes without the batch, separated by commas")
    return tuple(map(int, sizes))


def _freeze(options: argparse.Namespace) -> None:
    from slicebed_agent.model import load  # noqa: PLC0415 - the other commands need no numpy

    frozen = load.open_model(_model_of(options), cache=options.cache)
    card = frozen.card
    said = {"graph_sha256": frozen.graph_sha256(), "bytes": card.graph_bytes, "name": card.name}
    sys.stdout.write(json.dumps({**said, "weights": str(card.weights)}) + "\n")


def _profile(options: argparse.Namespace) -> None:
    from slicebed_agent.model.profile import command, measure  # noqa: PLC0415 - the other commands need no numpy

    settings = measure.Options(
        boundaries=measure.Boundaries.of(every=options.every, cut=options.cut),
        level=measure.Level(options.level),
        cut=options.cut,
        max_tensors=options.max_tensors,
        repeats=options.repeats,
        cores=options.cores,
        batch=options.batch,
        seed=options.draw,
        memory=options.memory,
        operators=options.operators,
    )
    sys.stdout.write(command.summary(command.profile_to_file(_model_of(options), options.out, settings)) + "\n")


def _train(options: argparse.Namespace) -> None:
    from slicebed_agent.model import digits, train  # noqa: PLC0415 - imports TensorFlow when it runs

    record = train.train(seed=options.seed, epochs=options.epochs, folder=options.out or digits.DATA)
    sys.stdout.write(
        f"held-out accuracy {record.held_out_accuracy:.4f} on {record.held_out_images} images, "
        f"weights {record.weights_sha256[:12]}\n"
    )


def _train_exit(options: argparse.Namespace) -> None:
    from slicebed_agent.model import exit_head  # noqa: PLC0415 - imports TensorFlow when it runs

    card = exit_head.train(options.model, options.after, options.out, options.seed, options.epochs, data=options.data)
    sys.stdout.write(
        f"held-out accuracy {card.held_out_accuracy:.4f} on {card.held_out_images} images, "
        f"{card.head_bytes} bytes, head {card.head_sha256[:12]}\n"
    )


def _version(_options: argparse.Namespace) -> None:
    sys.stdout.write(f"{__version__}\n")


if __name__ == "__main__":
    main()
