"""``tokfrag encode``: text files to token shards, or how many tokens they have."""

from __future__ import annotations

import argparse
from pathlib import Path

from tokfrag._files import check_new
from tokfrag.cli.argument_types import positive
from tokfrag.cli.tokenizer_files import PATTERN_HELP, check_texts, load_tokenizer
from tokfrag.scale.plan import PLAN
from tokfrag.tokens import Tokenizer
from tokfrag.tokens.shards.cuts import cut_rule
from tokfrag.tokens.shards.encoding import Edges
from tokfrag.tokens.shards.index import INDEX, remove_shards
from tokfrag.tokens.shards.layouts import LAYOUTS
from tokfrag.tokens.shards.opening import BrokenFileError
from tokfrag.tokens.shards.pieces import Reading, read_blocks
from tokfrag.tokens.shards.skips import ON_ERROR, Skips
from tokfrag.tokens.shards.sources import Source, is_url, source_list


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
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="UTF-8 text, .jsonl, .parquet, .arrow; text and lines also .gz, .bz2, .xz, .zst; URLs",
    )
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
        choices=LAYOUTS,
        default="tokfrag",
        help="a folder of shards, one file of bare ids, or what other trainers read",
    )
    parser.add_argument("--begin-of-text", metavar="TOKEN", help="put it before each document")
    parser.add_argument("--end-of-text", metavar="TOKEN", help="put it after each document")
    parser.add_argument("--field", default="text", help="of JSON lines (default text)")
    parser.add_argument("--column", default="text", help="of tables (default text)")
    parser.add_argument(
        "--on-error",
        choices=ON_ERROR,
        default="raise",
        help="stop at bad lines, null rows and broken files, or leave them out (default raise)",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="encode parts of the corpus in so many processes (tokfrag.scale.encode_corpus)",
    )
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
    check_texts([Path(file) for file in arguments.files if not is_url(file)])
    if arguments.workers and arguments.layout != "tokfrag":
        raise ValueError(f"--workers: takes --layout tokfrag, not {arguments.layout}")
    if arguments.workers and arguments.threads:
        raise ValueError("--threads: with --workers every process has one")
    if arguments.out is None:
        _check_none_of_writing(arguments)
    else:
        _check_out(arguments.out, arguments.layout, force=arguments.force)
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.pattern)
    if arguments.out is None:
        for path in arguments.files:
            count, size = _count(tokenizer, path, arguments)
            print(f"{path}: {count} tokens, {size} bytes, {size / max(1, count):.2f} each")
        return 0
    # All that can be refused is, before what is there is removed.
    Edges.of(tokenizer.text_pipeline, arguments.begin_of_text, arguments.end_of_text)
    source_list(arguments.files)
    if _is_replaced(arguments):
        remove_shards(arguments.out)
    if arguments.workers:
        from tokfrag.scale import encode_corpus

        written = encode_corpus(
            tokenizer,
            arguments.files,
            arguments.out,
            workers=arguments.workers,
            begin_of_text=arguments.begin_of_text,
            end_of_text=arguments.end_of_text,
            field=arguments.field,
            column=arguments.column,
            on_error=arguments.on_error,
            progress=not arguments.quiet,
        )
    else:
        written = tokenizer.encode_files(
            arguments.files,
            arguments.out,
            begin_of_text=arguments.begin_of_text,
            end_of_text=arguments.end_of_text,
            field=arguments.field,
            column=arguments.column,
            on_error=arguments.on_error,
            layout=arguments.layout,
            threads=arguments.threads,
            progress=not arguments.quiet,
        )
    print(f"wrote {written}")
    return 0


def _count(tokenizer: Tokenizer, path: str, arguments: argparse.Namespace) -> tuple[int, int]:
    """How many tokens the documents of a file have, and how many bytes, unpacked."""
    reading = Reading(arguments.field, arguments.column, cut_rule(tokenizer))
    skips = Skips(arguments.on_error)
    tokens = size = 0
    try:
        for block in read_blocks(Source.of(path), reading, skips):
            texts = [text.encode() if isinstance(text, str) else text for text in block.texts]
            tokens += len(tokenizer.encode_batch(texts, threads=arguments.threads).ids)
            size += sum(map(len, texts))
    except BrokenFileError as error:  # as encode_files does: of such a file nothing counts
        skips.back_to((0, 0))
        skips.add(str(error))
        tokens = size = 0
    if skips.count:
        print(f"{path}: {skips.count} skipped; the first: {skips.places[0]}")
    return tokens, size


def _check_none_of_writing(arguments: argparse.Namespace) -> None:
    """Refuse what would do nothing where tokens are only counted."""
    for name in ("workers", "begin_of_text", "end_of_text", "force"):
        if getattr(arguments, name):
            raise ValueError(f"--{name.replace('_', '-')}: takes --out")
    if arguments.layout != "tokfrag":
        raise ValueError("--layout: takes --out")


def _is_replaced(arguments: argparse.Namespace) -> bool:
    """Whether the folder that is written to holds shards that go first."""
    folder = arguments.layout not in ("bin", "megatron")
    return arguments.force and folder and (arguments.out / INDEX).exists()


def _check_out(out: Path, layout: str, *, force: bool) -> None:
    """Refuse, before any work is done, a path that is not to be written to."""
    if layout == "megatron":
        for suffix in (".bin", ".idx"):
            check_new(out.with_name(f"{out.name}{suffix}"), force=force)
        return
    if layout == "bin" or not out.is_dir():
        if layout != "bin" and out.exists():
            raise FileExistsError(f"--out: {out} is a file; --layout {layout} takes a folder")
        check_new(out, force=force)
        return
    if (out / PLAN).exists() and force:
        raise FileExistsError(f"--out: {out} holds a corpus; remove the folder by hand")
    if not (out / INDEX).exists() and not (out / PLAN).exists() and any(out.iterdir()):
        raise FileExistsError(f"--out: {out} holds other files and no {INDEX} of token shards")
