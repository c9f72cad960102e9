"""``tokfrag info``: what this installation is and can do."""

from __future__ import annotations

import argparse
import json
import os
from importlib.util import find_spec


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command and its arguments to the command's."""
    parser = commands.add_parser(
        "info",
        help="version, instruction sets, threads, CUDA module, torch",
        description="Print what this installation is and can do; put it into a bug report.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the facts, as lines or as JSON; returns the exit status."""
    facts = collect()
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            print(f"{name:<{width}}  {value}")
    return 0


def collect() -> dict[str, str]:
    """Facts on the build and the machine, by name; imports no torch."""
    from tokfrag._core import supported_isas
    from tokfrag._machine import environment

    facts = environment()
    facts["instruction sets"] = ", ".join(supported_isas())
    facts["cuda module"] = "present" if find_spec("tokfrag._cuda") else "not built"
    for name in ("TOKFRAG_ISA", "TOKFRAG_NUM_THREADS"):
        if name in os.environ:
            facts[name] = os.environ[name]
    return facts
