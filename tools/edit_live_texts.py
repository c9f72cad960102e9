"""Random edits of live texts by the million, each compared with a full encode; for the night.

    python tools/edit_live_texts.py [--edits 1000000] [--seed 0] [KIND ...]

The kinds are those of tests/live_cases.py: every pattern and model, with Unicode forms and added
tokens around them. A difference is printed with what makes it again, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from live_cases import BITS, KINDS, made
from tokfrag.tokens import live as live_module, live_parts, safe_cuts

EDITS_A_TEXT = 62


def small_parts() -> None:
    """Let parts be a few characters long, so that a short text has many."""
    safe_cuts.PART = 5
    safe_cuts.LONGEST = live_parts.LONGEST = 10
    live_module._SHORTEST = 3


def edit_one_text(kind: str, seed: str) -> str | None:
    """Edit a text many times; return how it came to differ from a full encode, if it did."""
    pick = random.Random(seed)
    tok = made(kind)
    allowed = pick.choice(["all", ()])
    text = "".join(pick.choices(BITS, k=pick.randint(0, 60)))
    live = tok.live(text, allowed_special=allowed)
    for _ in range(EDITS_A_TEXT):
        start = pick.randint(0, len(text))
        stop = min(len(text), start + pick.choice((0, 1, 6, 20)))
        new = "".join(pick.choices(BITS, k=pick.randint(0, 4)))
        before, old = live.ids, text
        edit = live.replace(start, stop, new)
        text = text[:start] + new + text[stop:]
        wanted = tok.encode(text, allowed_special=allowed).tolist()
        if live.ids.tolist() != wanted or edit.apply(before).tolist() != wanted:
            return f"{kind}, allowed {allowed!r}: {old!r}, replace({start}, {stop}, {new!r})"
    return None


def main() -> int:
    """Edit texts of all kinds that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--edits", type=int, default=1_000_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    unknown = set(options.kinds) - set(KINDS)
    if unknown:
        parser.error(f"KIND: got {sorted(unknown)}, takes {', '.join(KINDS)}")
    small_parts()
    differences = 0
    for kind in options.kinds or KINDS:
        begin = time.monotonic()
        for i in range(-(-options.edits // EDITS_A_TEXT)):
            difference = edit_one_text(kind, f"{options.seed} {kind} {i}")
            if difference is not None:
                differences += 1
                print(f"differs: {difference}", flush=True)
        print(f"{kind}: {options.edits} edits, {time.monotonic() - begin:.0f} s", flush=True)
    return int(differences > 0)


if __name__ == "__main__":
    sys.exit(main())
