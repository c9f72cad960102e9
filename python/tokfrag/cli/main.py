"""The ``tokfrag`` command: one sub-command a file, one clear line for a user's mistake."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tokfrag import __version__
from tokfrag.cli import (
    compare_command,
    encode_command,
    info_command,
    live_command,
    plan_command,
    report_command,
    train_command,
    verify_command,
)

_COMMANDS = (
    compare_command,
    report_command,
    verify_command,
    plan_command,
    encode_command,
    live_command,
    train_command,
    info_command,
)


def parser() -> argparse.ArgumentParser:
    """The command's arguments, sub-command by sub-command."""
    top = argparse.ArgumentParser(
        prog="tokfrag",
        description="Cut text into tokens and space-time into fragments, and compare the cuts.",
        epilog="tokfrag COMMAND --help tells more; start with: tokfrag compare digits",
    )
    top.add_argument("--version", action="version", version=f"tokfrag {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 fine, 1 failed, 2 a mistake, 130 Ctrl-C."""
    chosen = parser().parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader has what it wanted; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("tokfrag: interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, ImportError, OSError) as error:
        if os.environ.get("TOKFRAG_TRACEBACK"):
            raise
        print(f"tokfrag: error: {error}", file=sys.stderr)
        return 2
