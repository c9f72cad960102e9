"""Plans of ``tokfrag compare``: written by ``--propose``, read where one is named as the task."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokfrag.compare import Task
    from tokfrag.compare.planner.proposal import Plan


#: Options that mean nothing where nothing is trained.
_IDLE = (
    *("cuts", "race", "body", "second_body", "seeds_at_most", "device", "width", "depth", "batch"),
    *(
        "rate",
        "threads",
        "rehearse",
        "price",
        "piece_price",
        "resume",
        "json",
        "html",
        "card",
        "plot",
    ),
    *("markdown", "full"),
)


def read_plan(named: str) -> Plan | None:
    """The plan that a task's name stands for; None where it is no plan's file."""
    if not named.endswith(".json"):
        return None
    from tokfrag.compare.planner.proposal import Plan, is_plan

    path = Path(named)
    return Plan.read(path) if is_plan(path) else None


def follow_plan(arguments: argparse.Namespace, plan: Plan) -> None:
    """Fill in what the command line leaves open; what it says goes before the plan."""
    arguments.task = plan.task
    if arguments.data is None and plan.data is not None:
        arguments.data = Path(plan.data)
    given = {name for name, _ in arguments.settings}
    arguments.settings = [
        *arguments.settings,
        *((name, value) for name, value in plan.settings.items() if name not in given),
    ]
    arguments.cuts = arguments.cuts or [one.cut for one in plan.cuts]
    arguments.budget = arguments.budget or [plan.budget]
    arguments.seeds = arguments.seeds or plan.seeds


def check_proposal(arguments: argparse.Namespace) -> None:
    """Refuse what ``--propose`` would not heed."""
    if arguments.propose.suffix != ".json":
        raise ValueError(f"--propose: got {str(arguments.propose)!r}; it takes .json")
    if arguments.budget and len(arguments.budget) > 1:
        raise ValueError(f"--propose: got {len(arguments.budget)} budgets; a plan holds one")
    if isinstance(arguments.seeds, tuple):
        raise ValueError("--propose: a plan holds how many seeds, not which")
    values = {name: getattr(arguments, name) for name in _IDLE}
    # A price of 0 was said too.
    idle = [name for name, value in values.items() if value is not None and value is not False]
    if idle:
        names = ", ".join("--" + name.replace("_", "-") for name in idle)
        raise ValueError(f"--propose: trains nothing and finds its own cuts; leave out {names}")


def write_plan(arguments: argparse.Namespace, task: Task, name: str, data: Path | None) -> int:
    """Write a plan and print what it comes from; returns the exit status."""
    from tokfrag._files import check_new
    from tokfrag.compare.planner.proposal import Plan, propose

    check_new(arguments.propose, force=arguments.force)
    found, cuts = propose(task)
    settings = dict(arguments.settings)
    parts = {part: getattr(arguments, part) for part in ("test", "choose")}
    settings |= {part: path for part, path in parts.items() if path is not None}
    plan = Plan(
        name,
        None if data is None else str(data),
        settings,
        (arguments.budget or [task.default_budget()])[0],
        arguments.seeds or 3,
        cuts,
        found.to_dict(),
    )
    plan.write(arguments.propose, force=arguments.force)
    print(f"{name}: {task.about}")
    print("\n".join(f"- {line}" for line in found.lines()))
    width = max(len(one.cut) for one in cuts)
    print("\n".join(f"  {one.cut.ljust(width)}  {one.why}" for one in cuts))
    print(f"wrote {arguments.propose}; edit it, then: tokfrag compare {arguments.propose} --race")
    return 0
