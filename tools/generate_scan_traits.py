"""Writes trait_tables.cpp and tokfrag/reference/unicode_traits.py: what some patterns ask besides.

Run as generate_unicode_tables.py, whose engine answers ``\\p{Han}``, ``[\\p{P}\\p{S}]`` and
``\\w``; what Hugging Face takes for punctuation is in ``_bert_characters``
(generate_bert_characters.py).
"""

from __future__ import annotations

from generate_unicode_tables import PAGE, ROOT, SCALARS, UNICODE_VERSION, members

from tokfrag import _bert_characters as bert
from tokfrag._bert_tables import code_points

HAN, SYMBOL, PUNCTUATION, WORD = 1, 2, 4, 8


def trait_table() -> bytes:
    """The traits of every code point."""
    table = bytearray(SCALARS)
    for trait, found in (
        (HAN, members(r"\p{Han}")),
        (SYMBOL, members(r"[\p{P}\p{S}]")),
        (PUNCTUATION, code_points(bert.PUNCTUATION)),
        (WORD, members(r"\w")),
    ):
        for code_point in found:
            table[code_point] |= trait
    return bytes(table)


def cpp_source(table: bytes) -> str:
    pages: dict[bytes, int] = {}
    index = [
        pages.setdefault(table[begin : begin + PAGE], len(pages))
        for begin in range(0, SCALARS, PAGE)
    ]
    assert len(pages) <= 256
    lines = [
        f"// Unicode {UNICODE_VERSION}. Written by tools/generate_scan_traits.py: do not edit.",
        '#include "tokens/scan/traits.hpp"',
        "",
        "namespace tokfrag {",
        "",
        "// clang-format off",
        f"const std::uint8_t kTraitPageOf[{len(index)}] = {{",
    ]
    for begin in range(0, len(index), 24):
        lines.append("    " + ",".join(str(page) for page in index[begin : begin + 24]) + ",")
    lines += ["};", "", f"const char kTraitPages[{len(pages) * PAGE + 1}] ="]
    for page in pages:
        digits = "".join(chr(ord("0") + traits) for traits in page)
        lines += [f'    "{digits[:64]}"', f'    "{digits[64:]}"']
    lines[-1] += ";"
    lines += ["// clang-format on", "", "}  // namespace tokfrag", ""]
    return "\n".join(lines)


def python_source(table: bytes) -> str:
    begins = [at for at in range(SCALARS) if at == 0 or table[at] != table[at - 1]]
    words = [
        f"{end - begin:x}:{table[begin]}"
        for begin, end in zip(begins, [*begins[1:], SCALARS], strict=True)
    ]
    lines = [
        f'"""Unicode {UNICODE_VERSION} traits as runs: a hexadecimal length and a sum of traits.',
        "",
        f"{HAN} Han, {SYMBOL} punctuation or symbol, {PUNCTUATION} punctuation to Hugging Face,",
        f"{WORD} of words (Rust's \\\\w).",
        "Written by tools/generate_scan_traits.py: do not edit.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        f"HAN, SYMBOL, PUNCTUATION, WORD = {HAN}, {SYMBOL}, {PUNCTUATION}, {WORD}",
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
    table = trait_table()
    (ROOT / "csrc/tokens/scan/trait_tables.cpp").write_text(cpp_source(table))
    (ROOT / "python/tokfrag/reference/unicode_traits.py").write_text(python_source(table))


if __name__ == "__main__":
    main()
