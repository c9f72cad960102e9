"""``tokfrag compare``: tokens and fragments on one task, under one budget."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokfrag.cli.argument_types import above_zero, from_zero, given_once, positive, seeds
from tokfrag.cli.plan_files import check_proposal, follow_plan, read_plan, write_plan
from tokfrag.cli.report_command import add_outputs, check_outputs

if TYPE_CHECKING:
    from tokfrag.compare import Report, Task

_EPILOG = """\
cuts:
  pixels:16, values:64     each number a token, one of that many levels
  patch:4, patch:10/5      fragments of a size, with a stride after the slash; 2x8x8/1x4x4 per axis
    +drop +shift +pad      what happens at the edge; +diff adds the change along the first axis
    +hann +gaussian +triangular  how fragments are weighed where answers are merged
  whole                    one fragment; quad:4/16 are small where samples vary
  bytes, chars, bpe:512    tokens of text; words:4096, wordpiece:vocab.txt; +pairs shows pairs too
  tokenizer.json, x.tiktoken, x.model, hf:FOLDER    a tokenizer on disk
  window:8/4               fragments of text: 8 bytes, the last 4 of them new
  entropy:4, hnet:4        of about 4 bytes: where a byte model is surprised; learnt by the network
  mulaw:256/20, mel:40     sounds; items, items:4/2, hashes:64: histories
  smiles, atoms:1          molecules
  features:net.py:make     what a network of yours, which is not trained, answers; .pt2, .pt too
  bpe:512++window:8        both in one network
  @concat @mean @attention how the network joins pieces; mean forgets where each one was

examples:
  tokfrag compare digits
  tokfrag compare corpus.txt                                 the task told from the file
  tokfrag compare corpus.txt --propose plan.json             which cuts to try; edit the file
  tokfrag compare plan.json --race --html page.html          try them, the better ones longer
  tokfrag compare train.tsv --test test.tsv                  an official part to be judged on
  tokfrag compare speed.csv --set graph=links.csv            a network of sensors
  tokfrag compare digits --cuts pixels:16 patch:4/2 --budget 10s --card a.png --json a.json
  tokfrag compare digits --width 64 --rehearse               try a setting, the judging part unseen
  tokfrag report a.json --price 2.5                          other prices, nothing trained
  tokfrag compare digits --budget "200 GFLOP" --seeds 5      the same table every time
  tokfrag compare text --price 0.1 --piece-price 0.5         a cost from hours and tokens
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command and its arguments to the command's."""
    parser = commands.add_parser(
        "compare",
        help="train one network on differently cut data, under one budget",
        description="Train the same network on the same data, cut in different ways, each under "
        "the same budget, and print what each cut costs and reaches.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    given_once(parser)
    parser.add_argument(
        "task",
        metavar="TASK",
        help=f"one of: {', '.join(_tasks())}; or a file or folder, from which it is told, or a "
        "plan",
    )
    parser.add_argument("--data", type=Path, metavar="PATH", help="your data, not the default")
    parser.add_argument(
        "--test", metavar="PATH", help="the part to be judged on, where it is apart"
    )
    parser.add_argument("--choose", metavar="PATH", help="the part to choose on, where it is apart")
    parser.add_argument(
        "--cuts",
        nargs="+",
        action="extend",
        metavar="CUT",
        help="what to compare (see below); a second --cuts adds to the first",
    )
    parser.add_argument(
        "--budget",
        nargs="+",
        action="extend",
        help="a training's budget (per cut and seed): 10s, 2m, '500 GFLOP', '200 steps'; several "
        "are the rungs of the ladder",
    )
    parser.add_argument(
        "--seeds", type=seeds, help="trainings a cut (default 3), or the seeds: 7,8,9"
    )
    parser.add_argument(
        "--propose",
        type=Path,
        metavar="PLAN",
        help="train nothing: look at the data, and write a plan (.json) of cuts to try",
    )
    parser.add_argument(
        "--race",
        action="store_true",
        help="all cuts at a sixteenth of the budget, the better ones at a quarter, few to the end",
    )
    parser.add_argument(
        "--body",
        metavar="KIND",
        help="attention (default), recurrent, bag, inside, conv; sensors: mean (default), gat; "
        "features:FILE.py:NAME: a network of yours that is not trained",
    )
    parser.add_argument(
        "--second-body", metavar="KIND", help="train the best two rows with this one too"
    )
    parser.add_argument(
        "--seeds-at-most",
        type=positive,
        metavar="N",
        help="add seeds where they would tell rows apart, up to so many",
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="judge on the part to choose on, and leave the judging part alone: to try settings",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu (default), cuda, cuda:N or auto")
    parser.add_argument("--width", type=positive, help="of the body (default: the task's)")
    parser.add_argument("--depth", type=positive, help="of the body (default 2)")
    parser.add_argument("--batch", type=positive, help="samples a step (default: the task's)")
    parser.add_argument(
        "--rate", type=above_zero, help="one learning rate for all (default: each row's own)"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        dest="settings",
        help="settings of the task, such as context=64 (text) or look_back=336 (series)",
    )
    parser.add_argument("--threads", type=positive, help="threads of the network (default 1)")
    parser.add_argument("--price", type=from_zero, metavar="P", help="what an hour costs")
    parser.add_argument(
        "--piece-price", type=from_zero, metavar="P", help="what a million pieces (tokens) cost"
    )
    add_outputs(parser)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all numbers")
    parser.add_argument(
        "--resume", action="store_true", help="take finished trainings from the --json file"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare the cuts, print the table, and write what was asked for; returns the exit status."""
    from tokfrag._files import check_new
    from tokfrag.compare.extras import require

    require("torch", purpose="tokfrag compare")
    if arguments.resume and arguments.json is None:
        raise ValueError("--resume: takes --json PATH, the file with the finished trainings")
    check_outputs(arguments)
    if arguments.json is not None:
        check_new(arguments.json, force=arguments.force or arguments.resume)
    if arguments.propose is not None:
        check_proposal(arguments)
    planned = read_plan(arguments.task)
    if planned is not None:
        follow_plan(arguments, planned)
    task, name, data = _task(arguments)
    if arguments.propose is not None:
        return write_plan(arguments, task, name, data)
    report = _compared(arguments, task)
    print(report.markdown() if arguments.markdown else report.table(full=arguments.full))
    if arguments.json is not None:
        report.to_json(arguments.json, force=True)
    if arguments.plot is not None:
        report.plot(arguments.plot, force=arguments.force)
    if arguments.card is not None:
        report.to_card(arguments.card, force=arguments.force)
    if arguments.html is not None:
        report.to_html(arguments.html, force=arguments.force)
    for path in (arguments.json, arguments.plot, arguments.card, arguments.html):
        if path is not None:
            print(f"wrote {path}")
    if report.interrupted:
        return 130
    if not any(row.finished for row in report.rows):
        print("tokfrag: error: no training gave a score", file=sys.stderr)
        return 1
    return 0


def _task(arguments: argparse.Namespace) -> tuple[Task, str, Path | None]:
    """The task that is asked for, its name and its data."""
    from tokfrag.compare.tasks import TASKS, make_task, takes
    from tokfrag.compare.tasks.telling import guess_task

    name, data = arguments.task, arguments.data
    settings = dict(arguments.settings)
    if data is None and name not in TASKS and Path(name).exists():
        # A graph beside a table of numbers makes them sensors.
        data, name = Path(name), "sensors" if "graph" in settings else guess_task(Path(name))
    for part in ("test", "choose"):
        path = getattr(arguments, part)
        if path is not None:
            if name in TASKS and not takes(name, part):
                raise ValueError(f"--{part}: {name} takes no such part; its data hold all of them")
            settings[part] = path
    return make_task(name, data, settings), name, data


def _compared(arguments: argparse.Namespace, task: Task) -> Report:
    """Train as the options say, at once or in a race."""
    from tokfrag.compare import Recipe, compare
    from tokfrag.compare.budget import Budget
    from tokfrag.compare.cuts.names import as_cuts
    from tokfrag.compare.models import as_model
    from tokfrag.compare.planner.race import race

    recipe: Recipe = getattr(task, "recipe", Recipe())
    recipe = replace(
        recipe,
        batch=arguments.batch or recipe.batch,
        rate=arguments.rate or recipe.rate,
        tune=arguments.rate is None,
        width=arguments.width or recipe.width,
    )
    width, depth = recipe.width, arguments.depth or 2
    body = as_model(arguments.body or getattr(task, "body", "attention"), width, depth)
    second_body = arguments.second_body and as_model(arguments.second_body, width, depth)
    cuts: Sequence[Any] | None = None
    if arguments.cuts is not None:
        cuts = [cut for text in arguments.cuts for cut in text.split(",") if cut]
    budgets = arguments.budget or []

    def train(
        cuts: Sequence[Any] | None,
        given: Sequence[Budget | str],
        seeds: int | Sequence[int],
        last: bool,
    ) -> Report:
        lines = not sys.stderr.isatty()
        if not last and lines and not arguments.quiet:
            # Who stays is decided on the part to choose on: judging scores are shown at the end.
            print(f"race: {len(cuts or ())} cuts at {given[0]}", file=sys.stderr, flush=True)
        return compare(
            task,
            cuts,
            budget=given[0] if len(given) == 1 else None,
            budgets=given if len(given) > 1 else None,
            model=body,
            seeds=seeds,
            seeds_at_most=arguments.seeds_at_most if last else None,
            second_model=second_body if last else None,
            device=arguments.device,
            rehearse=arguments.rehearse,
            recipe=recipe,
            threads=arguments.threads or 1,
            price_per_hour=arguments.price,
            price_per_million_pieces=arguments.piece_price,
            progress=not arguments.quiet and (last or not lines),
            state=arguments.json if last else None,
            resume=arguments.resume and last,
            command=shlex.join(["tokfrag", *sys.argv[1:]]),
        )

    seeds = arguments.seeds or 3
    if not arguments.race:
        return train(cuts, budgets, seeds, True)
    if len(budgets) > 1:
        raise ValueError(f"--race: got {len(budgets)} budgets; it takes one, and sets the others")
    whole = Budget.of(budgets[0] if budgets else task.default_budget())
    report, _ = race(
        as_cuts(task.default_cuts() if cuts is None else cuts),
        whole,
        lambda cuts, budget, seeds: train(cuts, [budget], seeds, budget == whole),
        seeds=seeds,
    )
    return report


def _tasks() -> list[str]:
    from tokfrag.compare.tasks import TASKS

    return list(TASKS)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes NAME=VALUE")
    return name, value
