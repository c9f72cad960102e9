"""Writes unicode_tables.cpp and tokfrag/reference/unicode_classes.py from tiktoken's own engine.

Run with tiktoken installed (0.14.0, whose regex engine knows Unicode 16.0.0):
``python tools/generate_unicode_tables.py``. Every scalar value is put through ``\\p{..}``
patterns of that engine, so the tables cannot disagree with it; tests/test_unicode_tables.py asks
again for whatever version is installed.
"""

from __future__ import annotations

from pathlib import Path

import tiktoken

UNICODE_VERSION = "16.0.0"
ROOT = Path(__file__).resolve().parents[1]
PAGE = 128
SCALARS = 0x110000

# Class number, the patterns whose members it holds; what is in none is class 0.
CLASSES = {
    "upper": (1, (r"\p{Lu}", r"\p{Lt}")),
    "lower": (2, (r"\p{Ll}",)),
    "letter": (3, (r"\p{Lm}", r"\p{Lo}")),
    "mark": (4, (r"\p{M}",)),
    "number": (5, (r"\p{N}",)),
    "space": (6, (r"\s",)),
}


def members(pattern: str) -> list[int]:
    """The scalar values that tiktoken's engine finds in a one-character pattern."""
    engine = tiktoken.Encoding(
        "probe",
        pat_str=pattern,
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={},
    )
    found: list[int] = []
    for begin in range(0, SCALARS, 4096):
        text = "".join(chr(c) for c in range(begin, begin + 4096) if not 0xD800 <= c < 0xE000)
        found += map(ord, bytes(engine.encode_ordinary(text)).decode())
    return found


def class_table() -> bytes:
    """The class of every code point."""
    table = bytearray(SCALARS)
    for number, patterns in CLASSES.values():
        for pattern in patterns:
            for code_point in members(pattern):
                assert table[code_point] == 0, f"U+{code_point:04X} is in two classes"
                table[code_point] = number
    return bytes(table)


def cpp_source(table: bytes) -> str:
    pages: dict[bytes, int] = {}
    index = [
        pages.setdefault(table[begin : begin + PAGE], len(pages))
        for begin in range(0, SCALARS, PAGE)
    ]
    assert len(pages) <= 256
    lines = [
        f"// Unicode {UNICODE_VERSION}. Written by tools/generate_unicode_tables.py: do not edit.",
        '#include "tokens/unicode_tables.hpp"',
        "",
        "namespace tokfrag {",
        "",
        "// clang-format off",
        f"const std::uint8_t kClassPageOf[{len(index)}] = {{",
    ]
    for begin in range(0, len(index), 24):
        lines.append("    " + ",".join(str(page) for page in index[begin : begin + 24]) + ",")
    lines += ["};", "", f"const char kClassPages[{len(pages) * PAGE + 1}] ="]
    for page in pages:
        digits = "".join(map(str, page))
        lines += [f'    "{digits[:64]}"', f'    "{digits[64:]}"']
    lines[-1] += ";"
    lines += ["// clang-format on", "", "}  // namespace tokfrag", ""]
    return "\n".join(lines)


def python_source(table: bytes) -> str:
    runs = [
        (begin, table[begin])
        for begin in range(SCALARS)
        if begin == 0 or table[begin] != table[begin - 1]
    ]
    # Run lengths and classes, so that the twin needs no native table.
    ends = [begin for begin, _ in runs[1:]] + [SCALARS]
    words = [
        f"{end - begin:x}{'oulxmns'[number]}"
        for (begin, number), end in zip(runs, ends, strict=True)
    ]
    lines = [
        f'"""Unicode {UNICODE_VERSION} classes as runs: a hexadecimal length and a class letter.',
        "",
        "o other, u upper or title case, l lower case, x other letter, m mark, n number, s space.",
        "Written by tools/generate_unicode_tables.py: do not edit.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        f'UNICODE_VERSION = "{UNICODE_VERSION}"',
        'RUNS = """',
    ]
    line = ""
    for word in words:
        if len(line) + len(word) + 1 > 96:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    lines += [line, '"""', ""]
    return "\n".join(lines)


def main() -> None:
    table = class_table()
    (ROOT / "csrc/tokens/text/unicode_tables.cpp").write_text(cpp_source(table))
    (ROOT / "python/tokfrag/reference/unicode_classes.py").write_text(python_source(table))


if __name__ == "__main__":
    main()
