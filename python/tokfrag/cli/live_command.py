"""``tokfrag live``: edit a text in a terminal, and see its tokens follow."""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tokfrag.cli.argument_types import positive
from tokfrag.cli.tokenizer_files import PATTERN_HELP, check_texts, load_tokenizer

if TYPE_CHECKING:
    from tokfrag.tokens import Tokenizer
    from tokfrag.tokens.edit import Edit
    from tokfrag.tokens.live import LiveTokens

_HELP = """\
+TEXT             put TEXT at the end
START:STOP TEXT   put TEXT in the place of these characters (START:START puts it in between)
:N                keep the first N characters
?                 this help
q                 leave (also the end of the input)
In TEXT, \\n is a newline, \\t a tab and \\\\ a backslash. The file stays as it is."""
_REPLACE = re.compile(r"(\d+):(\d+)(?: (.*))?", re.DOTALL)
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}
# Tokens shown on either side of an edit, and backgrounds that take turns.
_AROUND = 12
_COLOURS = (153, 187, 151, 223, 182)


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command and its arguments to the command's."""
    parser = commands.add_parser(
        "live",
        help="edit a text and see its tokens follow, with the time of each edit",
        description="Read edits line by line and show what each did to the tokens, and how long "
        "it took: only what an edit touches is encoded, and the ids are those of a full encode.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="UTF-8 text")
    parser.add_argument(
        "--tokenizer",
        required=True,
        type=Path,
        metavar="PATH",
        help="tokenizer.json, x.tiktoken (also .gz) or a WordPiece vocab.txt",
    )
    parser.add_argument("--pattern", default="cl100k", help=PATTERN_HELP)
    parser.add_argument(
        "--demo",
        nargs="?",
        const=10_000,
        type=positive,
        metavar="N",
        help="do N edits at random (default 10000), check the ids, print the times",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Follow edits from the standard input, or make some; returns the exit status."""
    check_texts([arguments.file])
    text = arguments.file.read_bytes().decode("utf-8")
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.pattern)
    begin = time.perf_counter()
    live = tokenizer.live(text)
    seconds = time.perf_counter() - begin
    print(f"{len(text)} characters, {len(live)} tokens, opened in {1e3 * seconds:.1f} ms")
    if arguments.demo is not None:
        return _demonstrate(tokenizer, live, arguments.demo)
    print("? for help")
    for line in sys.stdin:
        command = line.rstrip("\r\n")
        if command == "q":
            break
        if command == "?":
            print(_HELP)
        elif command:
            _follow(tokenizer, live, command)
    return 0


def _follow(tokenizer: Tokenizer, live: LiveTokens, command: str) -> None:
    """Do one edit and show it; a mistake is told, and changes nothing."""
    try:
        edit_it = _parse(live, command)
        begin = time.perf_counter()
        edit = edit_it()
        seconds = time.perf_counter() - begin
    except ValueError as mistake:
        print(f"tokfrag: {mistake}", file=sys.stderr)
        return
    came, total = len(edit.ids), len(live)
    print(
        f"{1e6 * seconds:.0f} us: at token {edit.first}, {edit.removed} gave way to {came}; "
        f"{total} tokens"
    )
    print(_shown(tokenizer, live, edit))


def _parse(live: LiveTokens, command: str) -> Callable[[], Edit]:
    if command.startswith("+"):
        text = _unescaped(command[1:])
        return lambda: live.append(text)
    if command.startswith(":") and command[1:].isdecimal():
        length = int(command[1:])
        return lambda: live.truncate(length)
    match = _REPLACE.fullmatch(command)
    if match is None:
        raise ValueError(f"got {command!r}, takes +TEXT, START:STOP TEXT, :N, ? or q")
    start, stop, text = int(match[1]), int(match[2]), _unescaped(match[3] or "")
    return lambda: live.replace(start, stop, text)


def _unescaped(text: str) -> str:
    return re.sub(r"\\[nt\\]", lambda match: _ESCAPES[match[0]], text)


def _shown(tokenizer: Tokenizer, live: LiveTokens, edit: Edit) -> str:
    """The tokens around an edit, those that came in bold; without colours between bars."""
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    begin = max(0, edit.first - _AROUND)
    last = edit.first + len(edit.ids)
    shown: list[str] = []
    for place, id in enumerate(live.ids[begin : last + _AROUND].tolist(), start=begin):
        text = tokenizer.decode([id]).replace("\n", "\u23ce").replace("\t", "\u21e5")
        if not text.isprintable():
            text = repr(text)[1:-1]
        if coloured:
            bold = ";1" if edit.first <= place < last else ""
            colour = _COLOURS[place % len(_COLOURS)]
            text = f"\x1b[38;5;16;48;5;{colour}{bold}m{text}\x1b[0m"
        shown.append(text)
    return ("" if coloured else "|").join(shown)


def _demonstrate(tokenizer: Tokenizer, live: LiveTokens, count: int) -> int:
    """Edits of up to 100 characters at random, their times, and a full encode at the end."""
    pick = random.Random(0)
    source = live.text or "The cat sat on the mat. "
    size = len(live.text)
    seconds: list[float] = []
    for _ in range(count):
        start = pick.randint(0, size)
        stop = min(size, start + pick.randint(0, 100))
        place = pick.randrange(len(source))
        text = source[place : place + pick.randint(1, 100)]
        begin = time.perf_counter()
        live.replace(start, stop, text)
        seconds.append(time.perf_counter() - begin)
        size += len(text) - (stop - start)
    seconds.sort()
    half, most = (1e6 * seconds[int(share * (count - 1))] for share in (0.5, 0.99))
    text = live.text
    begin = time.perf_counter()
    whole = tokenizer.encode(text)
    full = 1e6 * (time.perf_counter() - begin)
    if whole.tolist() != live.ids.tolist():
        print("tokfrag: the ids differ from those of a full encode", file=sys.stderr)
        return 1
    print(f"{count} edits at random: p50 {half:.0f} us, p99 {most:.0f} us each")
    print(f"one full encode of the {size} characters: {full:.0f} us; the ids are the same")
    return 0
