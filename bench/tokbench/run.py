"""tokfrag as an engine of huggingface/tokbench, by the protocol of its ``python/harness.py``.

Copy this folder to ``engines/tokfrag`` there; the driver calls it as it calls the other engines
that are Python packages. Ids are those of ``encode(text, add_special_tokens=False)`` there: text
that spells an added token becomes it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))


def main() -> None:
    """Answer one call of the driver."""
    harness: Any = import_module("harness")
    args = harness.args_parser().parse_args()
    try:
        import tokfrag
    except ImportError:
        harness.unsupported("tokfrag", "c++", "tokfrag is not installed (pip install tokfrag)")
        return
    name = f"tokfrag {tokfrag.__version__}"
    path = args.model / "tokenizer.json"

    def load() -> Any:
        return tokfrag.Tokenizer.from_file(path)

    try:
        load()
    except (OSError, ValueError) as refusal:
        harness.unsupported(name, "c++", str(refusal))
    harness.run(
        name="tokfrag",
        version=name,
        lang="c++",
        load=load,
        # A view of the array gives Python's own integers, which the harness's hash needs.
        encode=lambda tok, text: memoryview(tok.encode(text, allowed_special="all")),
        args=args,
        also_computes="",
        internally_parallel=False,
    )


if __name__ == "__main__":
    main()
