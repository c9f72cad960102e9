"""``tokfrag info``: what this installation is and can do."""

from __future__ import annotations

import argparse
import json
import os
from importlib import import_module
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


def version_name(number: int) -> str:
    """A CUDA version as it is written: 12090 is 12.9.

    Returns
    -------
    str

    Examples
    --------
    >>> version_name(12090)
    '12.9'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def cuda_facts() -> dict[str, str]:
    """What the CUDA module was built for, the driver, and why the kernels run or do not."""
    if find_spec("tokfrag._cuda") is None:
        reason = "off: tokfrag was built without nvcc; torch's operators do the same work"
        return {"cuda module": "not built", "cuda kernels": reason}
    try:
        module = import_module("tokfrag._cuda")
    except ImportError as failed:
        return {"cuda module": "present", "cuda kernels": f"off: {failed}"}
    facts = {
        "cuda module": "present",
        "cuda toolkit": version_name(module.toolkit_version),
        "cuda architectures": module.architectures.replace(",", ", "),
    }
    try:
        driver = module.driver_version()
        facts["cuda driver"] = f"up to CUDA {version_name(driver)}" if driver else "none"
        module.check_device(0)
    except RuntimeError as failed:
        facts["cuda kernels"] = f"off: {failed}"
    else:
        facts["cuda kernels"] = "on (cuda:0)"
    return facts


def collect() -> dict[str, str]:
    """Facts on the build and the machine, by name; imports no torch."""
    from tokfrag._core import supported_isas
    from tokfrag._machine import environment

    facts = environment()
    facts["instruction sets"] = ", ".join(supported_isas())
    facts.update(cuda_facts())
    for name in ("TOKFRAG_ISA", "TOKFRAG_NUM_THREADS"):
        if name in os.environ:
            facts[name] = os.environ[name]
    return facts
