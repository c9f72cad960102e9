"""``tokfrag encode``: text files to token shards, or how many tokens they have."""

from __future__ import annotations

import argparse
from pathlib import Path

from tokfrag.cli.argument_types import positive
from tokfrag.cli.tokenizer_files import PATTERN_HELP, check_texts, load_tokenizer


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command and its arguments to the command's."""
    parser = commands.add_parser(
        "encode",
        help="turn text files into token shards, or count their tokens",
        description="Encode text files into a folder of token shards (TokenShards reads it), or "
        "with --layout bin into one file of bare ids; without --out, print how many tokens each "
        "file has. After an interruption the same command goes on with the first shard that is "
        "not there.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="UTF-8 text")
    parser.add_argument(
        "--tokenizer",
        required=True,
        type=Path,
        metavar="PATH",
        help="tokenizer.json, x.tiktoken (also .gz) or a WordPiece vocab.txt",
    )
    parser.add_argument("--pattern", default="cl100k", help=PATTERN_HELP)
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="the folder, or the file, to write"
    )
    parser.add_argument(
        "--layout",
        choices=("tokfrag", "bin"),
        default="tokfrag",
        help="a folder of shards, or one file of bare ids (default tokfrag)",
    )
    parser.add_argument("--end-of-text", metavar="TOKEN", help="put this token after each file")
    parser.add_argument("--threads", type=positive, metavar="N", help="default: all there are")
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace what is there already, instead of going on with it",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write token shards, or print how many tokens each file has; returns the exit status."""
    check_texts(arguments.files)
    if arguments.out is not None:
        _check_out(arguments.out, arguments.layout, force=arguments.force)
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.pattern)
    if arguments.out is None:
        for path in arguments.files:
            raw = path.read_bytes()
            count = int(tokenizer.count(raw))
            print(f"{path}: {count} tokens, {len(raw)} bytes, {len(raw) / max(1, count):.2f} each")
        return 0
    written = tokenizer.encode_files(
        arguments.files,
        arguments.out,
        end_of_text=arguments.end_of_text,
        layout=arguments.layout,
        threads=arguments.threads,
        progress=not arguments.quiet,
    )
    print(f"wrote {written}")
    return 0


def _check_out(out: Path, layout: str, *, force: bool) -> None:
    """Refuse, before any work is done, a path that is not to be written to."""
    from tokfrag._files import check_new
    from tokfrag.tokens.shards.index import INDEX, remove_shards

    if layout == "bin" or not out.is_dir():
        if layout != "bin" and out.exists():
            raise FileExistsError(f"--out: {out} is a file; --layout tokfrag takes a folder")
        check_new(out, force=force)
        return
    if (out / INDEX).exists():
        if force:
            remove_shards(out)
    elif any(out.iterdir()):
        raise FileExistsError(f"--out: {out} holds other files and no {INDEX} of token shards")
