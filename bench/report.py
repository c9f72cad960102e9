"""Turn pytest-benchmark's JSON into a table of ratios: ``python bench/report.py bench.json``.

One block a group, one row a peer, fastest first; ``ratio`` is the peer's time over tokfrag's, so
more than 1 means tokfrag is faster, and losses show as less than 1.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

OURS = "tokfrag"


def peer_of(benchmark: dict[str, Any]) -> str:
    """The peer a row measures: its ``peer`` parameter."""
    return str((benchmark.get("params") or {}).get("peer", OURS))


def median(benchmark: dict[str, Any]) -> float:
    """The seconds a row stands for: those the bench measured itself, or pytest-benchmark's."""
    own = benchmark["extra_info"].get("seconds")
    return float(own if own is not None else benchmark["stats"]["median"])


def speed(benchmark: dict[str, Any]) -> str:
    """MB/s or GB/s where the bench says how many bytes it handles, else nothing."""
    count = benchmark["extra_info"].get("bytes")
    if not count:
        return ""
    per_second = count / median(benchmark)
    return f"{per_second / 1e9:.2f} GB/s" if per_second > 1e9 else f"{per_second / 1e6:.1f} MB/s"


def duration(seconds: float) -> str:
    """A time in the unit that keeps it readable."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def table(benchmarks: list[dict[str, Any]]) -> str:
    """The report as Markdown."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for benchmark in benchmarks:
        groups[benchmark["group"] or benchmark["name"]].append(benchmark)
    lines: list[str] = []
    for group, rows in groups.items():
        rows.sort(key=median)
        ours = [median(row) for row in rows if peer_of(row) == OURS]
        lines += [
            f"### {group}",
            "",
            "| peer | version | median | speed | ratio |",
            "|---|---|---|---|---|",
        ]
        for row in rows:
            seconds = median(row)
            ratio = f"{seconds / ours[0]:.2f}" if ours else ""
            version = row["extra_info"].get("version", "")
            name = f"**{OURS}**" if peer_of(row) == OURS else peer_of(row)
            lines.append(f"| {name} | {version} | {duration(seconds)} | {speed(row)} | {ratio} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, help="what pytest --benchmark-json wrote")
    arguments = parser.parse_args()
    report = json.loads(arguments.json.read_text(encoding="utf-8"))
    machine = report["machine_info"]
    print(f"{machine['cpu'].get('brand_raw', machine['processor'])}, {report['datetime'][:10]}\n")
    print(table(report["benchmarks"]))


if __name__ == "__main__":
    main()
