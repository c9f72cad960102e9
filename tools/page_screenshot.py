"""The picture of a comparison's page that the documentation shows, made by Chromium.

    tokfrag compare digits --budget "16 GFLOP" --seeds 3 --json digits.json
    python tools/page_screenshot.py digits.json docs/images/compare.png
    python tools/page_screenshot.py digits.json /tmp/narrow.png --width 400 --height 1800

Nothing is trained here: the report is drawn as ``tokfrag report --html`` does. The picture is
stored with 128 colours, and refused above 200 kB.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tokfrag.compare import Report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MOST_BYTES = 200_000


def shoot(report: Path, picture: Path, *, width: int, height: int) -> None:
    """Draw the report's page, and the page's top as a picture."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise FileNotFoundError(f"no browser: takes one of {', '.join(BROWSERS)}")
    with TemporaryDirectory() as folder:
        page, raw = Path(folder, "page.html"), Path(folder, "raw.png")
        Report.from_json(report).to_html(page)
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                f"--window-size={width},{height}",
                f"--screenshot={raw}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        with Image.open(raw) as image:
            image.convert("RGB").quantize(128).save(picture, optimize=True)
    size = picture.stat().st_size
    if size > MOST_BYTES:
        picture.unlink()
        raise ValueError(f"{picture}: {size} bytes, takes at most {MOST_BYTES}; lower --height")
    print(f"wrote {picture}, {size} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1300)
    parser.add_argument("--height", type=int, default=1400)
    given = parser.parse_args()
    try:
        shoot(given.report, given.picture, width=given.width, height=given.height)
    except (ValueError, OSError, subprocess.SubprocessError) as error:
        print(f"page_screenshot: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
