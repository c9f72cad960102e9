"""``tokfrag report``: a comparison that was made before, at other prices, without training."""

from __future__ import annotations

import argparse
from pathlib import Path

from tokfrag.cli.argument_types import above_zero, from_zero, given_once


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "report",
        help="print a finished comparison again, at other prices and in use",
        description="Read the JSON of a comparison and print or draw it again. Nothing is trained: "
        "the file holds what every training had reached and used at every rung. With --answers, "
        "--context or --serve-weight it tells what rows cost in use, and which is best at equal "
        "cost.",
    )
    given_once(parser)
    parser.add_argument("report", type=Path, metavar="JSON", help="what compare --json wrote")
    parser.add_argument("--price", type=from_zero, metavar="P", help="what an hour costs")
    parser.add_argument(
        "--piece-price", type=from_zero, metavar="P", help="what a million pieces (tokens) cost"
    )
    parser.add_argument(
        "--answers", type=from_zero, metavar="N", help="samples that are asked about afterwards"
    )
    parser.add_argument(
        "--context", type=above_zero, metavar="TIMES", help="how many times as long they are"
    )
    parser.add_argument(
        "--serve-weight",
        type=above_zero,
        metavar="W",
        help="what an operation of an answer costs, where one of training costs 1",
    )
    add_outputs(parser)
    parser.set_defaults(run=run)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is printed and written, the same for compare and report."""
    parser.add_argument("--full", action="store_true", help="print all tables, not only the first")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="draw ladder and differences")
    parser.add_argument("--card", type=Path, metavar="PATH", help="the verdict, 1200 x 630 (.png)")
    parser.add_argument("--html", type=Path, metavar="PATH", help="write one self-contained page")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse, before any work is done, files that could not be written afterwards."""
    from tokfrag._files import check_new
    from tokfrag.compare.extras import require
    from tokfrag.compare.views.plot import check_format

    paths = [p for p in (arguments.plot, arguments.card, arguments.html) if p is not None]
    if paths:
        require("matplotlib", purpose="the plot")
    for path in paths:
        check_new(path, force=arguments.force)
    if arguments.plot is not None:
        check_format(arguments.plot)
    if arguments.card is not None and arguments.card.suffix.lower() != ".png":
        raise ValueError(f"--card: got {str(arguments.card)!r}; it takes .png")


def run(arguments: argparse.Namespace) -> int:
    """Read, print and draw."""
    from tokfrag.compare.replay import Use, replay_text
    from tokfrag.compare.report import Report
    from tokfrag.compare.row import Prices

    check_outputs(arguments)
    report = Report.from_json(
        arguments.report, prices=Prices(arguments.price, arguments.piece_price)
    )
    print(report.markdown() if arguments.markdown else report.table(full=arguments.full))
    use = (arguments.answers, arguments.context, arguments.serve_weight)
    if any(value is not None for value in use):
        answers, context, weight = use
        print("\n" + replay_text(report, Use(answers or 0.0, context or 1.0, weight or 1.0)))
    if arguments.plot is not None:
        report.plot(arguments.plot, force=arguments.force)
    if arguments.card is not None:
        report.to_card(arguments.card, force=arguments.force)
    if arguments.html is not None:
        report.to_html(arguments.html, force=arguments.force)
    for path in (arguments.plot, arguments.card, arguments.html):
        if path is not None:
            print(f"wrote {path}")
    return 0
