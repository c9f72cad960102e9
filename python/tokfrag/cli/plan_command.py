"""``tokfrag plan``: which fragment size, stride and batch for data of a shape?"""

from __future__ import annotations

import argparse
import re

from tokfrag.cli.argument_types import positive

_UNITS = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command and its arguments to the command's."""
    parser = commands.add_parser(
        "plan",
        help="rank fragment sizes, strides and batches for a shape",
        description="Rank ways to cut data of a shape into fragments for a model, by predicted "
        "time within a memory limit; ways that would lose results are refused, and told.",
    )
    parser.add_argument(
        "--shape", required=True, type=_axes, metavar="AxBxC", help="of the space-time axes"
    )
    parser.add_argument("--dtype", default="float32", help="of the data (default float32)")
    parser.add_argument("--channels", type=positive, default=1, help="of the data (default 1)")
    parser.add_argument(
        "--receptive-field",
        required=True,
        type=_axes,
        metavar="R[xS...]",
        help="positions that one result depends on, one number or one an axis",
    )
    parser.add_argument(
        "--memory", required=True, type=_bytes, metavar="SIZE", help="limit a worker: 500MB, 2GiB"
    )
    parser.add_argument(
        "--workers", type=positive, default=1, help="that share the work (default 1)"
    )
    parser.add_argument("--top", type=positive, default=10, help="rows to print (default 10)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the ranked ways to cut, and those refused; returns the exit status."""
    from tokfrag.fragments import plan_fragments

    field = arguments.receptive_field
    plan = plan_fragments(
        arguments.shape,
        arguments.dtype,
        receptive_field=field[0] if len(field) == 1 else field,
        memory_limit=arguments.memory,
        workers=arguments.workers,
        channels=arguments.channels,
    )
    print(plan.table(arguments.top))
    return 0


def _axes(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]+(x[0-9]+)*", text):
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes whole numbers, such as 512x512")
    return tuple(int(part) for part in text.split("x"))


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([A-Za-z]*)", text)
    if match is None or match[2] not in _UNITS:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; it takes a number with {', '.join(unit for unit in _UNITS if unit)}"
        )
    return int(float(match[1]) * _UNITS[match[2]])
