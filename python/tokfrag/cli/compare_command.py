"""``tokfrag compare``: tokens and fragments on one task, under one budget."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from tokfrag.cli.argument_types import above_zero, from_zero, positive
from tokfrag.cli.report_command import add_outputs, check_outputs

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
  bpe:512++window:8        both in one network
  @concat @mean @attention how the network joins pieces; mean forgets where each one was

examples:
  tokfrag compare digits
  tokfrag compare corpus.txt                                 the task told from the file
  tokfrag compare train.tsv --test test.tsv                  an official part to be judged on
  tokfrag compare speed.csv --set graph=links.csv            a network of sensors
  tokfrag compare digits --cuts pixels:16 patch:4/2 --budget 10s --card a.png --json a.json
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
    parser.add_argument(
        "task",
        metavar="TASK",
        help=f"one of: {', '.join(_tasks())}; or a file or folder, from which it is told",
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
    parser.add_argument("--seeds", type=positive, default=3, help="trainings a cut (default 3)")
    parser.add_argument(
        "--body",
        metavar="KIND",
        help="attention (default), recurrent, bag, inside, conv; sensors: mean (default), gat",
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
    parser.add_argument("--device", metavar="NAME", help="cpu (default), cuda, cuda:N or auto")
    parser.add_argument("--width", type=positive, help="of the body (default: the task's)")
    parser.add_argument("--depth", type=positive, default=2, help="of the body (default 2)")
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
    parser.add_argument(
        "--threads", type=positive, default=1, help="threads of the network (default 1)"
    )
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
    from tokfrag.compare import Recipe, compare
    from tokfrag.compare.extras import require
    from tokfrag.compare.tasks import TASKS, make_task, takes
    from tokfrag.compare.tasks.telling import guess_task

    require("torch", purpose="tokfrag compare")
    from tokfrag.compare.body import Body

    if arguments.resume and arguments.json is None:
        raise ValueError("--resume: takes --json PATH, the file with the finished trainings")
    check_outputs(arguments)
    if arguments.json is not None:
        check_new(arguments.json, force=arguments.force or arguments.resume)
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
    task = make_task(name, data, settings)
    recipe: Recipe = getattr(task, "recipe", Recipe())
    recipe = replace(
        recipe,
        batch=arguments.batch or recipe.batch,
        rate=arguments.rate or recipe.rate,
        tune=arguments.rate is None,
        width=arguments.width or recipe.width,
    )
    cuts = None
    if arguments.cuts is not None:
        cuts = [cut for text in arguments.cuts for cut in text.split(",") if cut]
    budgets = arguments.budget or []
    report = compare(
        task,
        cuts,
        budget=budgets[0] if len(budgets) == 1 else None,
        budgets=budgets if len(budgets) > 1 else None,
        model=Body(
            arguments.body or getattr(task, "body", "attention"), recipe.width, arguments.depth
        ),
        seeds=arguments.seeds,
        seeds_at_most=arguments.seeds_at_most,
        second_model=None
        if arguments.second_body is None
        else Body(arguments.second_body, recipe.width, arguments.depth),
        device=arguments.device,
        recipe=recipe,
        threads=arguments.threads,
        price_per_hour=arguments.price,
        price_per_million_pieces=arguments.piece_price,
        progress=not arguments.quiet,
        state=arguments.json,
        resume=arguments.resume,
        command=shlex.join(["tokfrag", *sys.argv[1:]]),
    )
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


def _tasks() -> list[str]:
    from tokfrag.compare.tasks import TASKS

    return list(TASKS)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes NAME=VALUE")
    return name, value
