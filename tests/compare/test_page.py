"""The page: how samples are drawn, the ladder, the order of rows; read back as written."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.compare import CutFacts, Floor, Report, Row, Run, Rung, Samples, parse_cut
from tokfrag.compare.metric import BITS_PER_BYTE
from tokfrag.compare.problems import TagWords
from tokfrag.compare.progress import Progress
from tokfrag.compare.row import Honesty
from tokfrag.compare.sample import SamplePicture, drawn_sample
from tokfrag.compare.views.ladder_view import ladder_svg, ticks_of
from tokfrag.compare.views.pixels import png_of
from tokfrag.compare.views.sample_view import lanes_of, samples_html

FACTS = CutFacts("tokens", 8, 8, 0, 1, 1, 1, 1, 16, 0, True, 100, pieces=50, flops=3e6)


def row(name: str, *scores: float, lossy: bool = False, floor: float = 9.0) -> Row:
    rungs = tuple(Rung(1.0, s, s, steps=400) for s in scores)
    honesty = Honesty(True, "it forgets" if lossy else "")
    runs = (Run(0, rungs), Run(1, rungs))
    return Row(
        name, BITS_PER_BYTE, FACTS, runs, floors=(Floor("counting", floor),), honesty=honesty
    )


def report(*rows: Row, samples: dict[str, SamplePicture] | None = None) -> Report:
    budgets = ("1 GFLOP", "4 GFLOP", "16 GFLOP")
    return Report("text", "made up", BITS_PER_BYTE, budgets, (0, 1), rows, samples=samples or {})


def svg_of(text: str) -> ElementTree.Element:
    """The first drawing of a page, read as a browser would."""
    found = re.search(r"<svg.*?</svg>", text, re.S)
    assert found is not None
    return ElementTree.fromstring(found[0])


def test_rows_are_printed_best_first() -> None:
    made = report(
        row("third", 5.0, 4.0, 3.0),
        Row("naive", BITS_PER_BYTE, baseline=0.5),
        row("forgets", 1.0, 1.0, 0.1, lossy=True),
        Row("broken", BITS_PER_BYTE, failure="no"),
        row("first", 3.0, 2.0, 1.0),
        row("barely", 9.5, 9.4, 9.3),
        row("second", 4.0, 3.0, 2.0),
    )
    order = ["first", "second", "third", "forgets", "barely", "broken", "naive"]
    assert [one.name for one in made.in_order] == order
    lines = made.table().splitlines()[4:11]
    assert [line.split()[0] for line in lines] == order
    cells = [line.split("|")[1].split()[0] for line in made.markdown().splitlines()[4:11]]
    assert cells == order


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, 3]), st.integers(0, 99))
def test_pngs_read_back_as_they_were(height: int, width: int, colours: int, seed: int) -> None:
    image = pytest.importorskip("PIL.Image")
    shape = (height, width, colours) if colours else (height, width)
    values = np.random.default_rng(seed).integers(0, 256, shape)
    values.flat[0], values.flat[-1] = 0, 255
    read = np.asarray(image.open(BytesIO(png_of(values))))
    if values.size > 1:
        np.testing.assert_array_equal(read, values)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=12))
def test_windows_on_one_line_never_cover_each_other(found: list[tuple[int, int]]) -> None:
    spans = sorted((begin, begin + size) for begin, size in found)
    lanes = lanes_of(spans)
    for lane in set(lanes):
        held = [span for span, where in zip(spans, lanes, strict=True) if where == lane]
        assert all(a[1] <= b[0] for a, b in pairwise(held))
    deepest = max((sum(b <= at < e for b, e in spans) for at in range(40)), default=0)
    assert len(set(lanes)) == deepest


def test_text_is_drawn_piece_by_piece_and_nothing_of_it_is_markup() -> None:
    picture = SamplePicture(3, pieces=("a<b", "& c", "\n"))
    (block,) = samples_html(report(row("bytes", 1.0), samples={"bytes": picture}))
    assert re.findall(r"<span[^>]*>(.*?)</span>", block) == ["a&lt;b", "&amp;\u00b7c", "\u21b5"]
    assert "3 pieces" in block


def test_entities_stand_above_the_cuts() -> None:
    problem = TagWords(("B-person", "I-person", "O"), longest=40)
    text = b"Then Ada Berg left the room and was never seen there again, they said."
    words = np.array([[0, 4, 2], [5, 8, 0], [9, 13, 1], [14, 18, 2], [-1, -1, -1]])
    samples = Samples([text], words[None])
    assert problem.marks(samples, 0) == ((5, 13, "person"),)
    fitted = parse_cut("bytes").fit(Samples([text]))
    picture = drawn_sample(fitted, samples, problem)
    assert picture is not None
    assert picture.marks[:2] == (("Then ", ""), ("Ada Berg", "person"))
    assert "".join(part for part, _ in picture.marks) == "".join(picture.pieces)
    block = samples_html(report(row("bytes", 1.0), samples={"bytes": picture}))[0]
    assert re.search(r"<mark[^>]*>Ada Berg<small>person</small></mark>", block)


def test_pictures_keep_their_colours_and_show_every_piece() -> None:
    image = pytest.importorskip("PIL.Image")
    x = np.random.default_rng(0).uniform(size=(5, 3, 8, 8)).astype(np.float32)
    fitted = parse_cut("patch:4").fit(Samples(x, np.arange(5) % 2))
    picture = drawn_sample(fitted, Samples(x[:1]))
    assert picture is not None
    shown = "".join(samples_html(report(row("patch:4", 1.0), samples={"patch:4": picture})))
    coded = re.search(r"base64,([^\"]+)", shown)
    assert coded is not None
    pixels = np.asarray(image.open(BytesIO(base64.b64decode(coded[1])))).astype(float)
    low, high = x[0].min(), x[0].max()
    wanted = np.moveaxis((x[0] - low) / (high - low) * 255, 0, -1)
    np.testing.assert_allclose(pixels, wanted, atol=1)
    assert shown.count("<rect") == 4


def test_curves_have_a_band_a_piece() -> None:
    x = np.sin(np.arange(48) / 5)[None, None].astype(np.float32)
    samples = {}
    for name in ("patch:8", "patch:16/8"):
        picture = drawn_sample(parse_cut(name).fit(Samples(x)), Samples(x))
        assert picture is not None
        samples[name] = picture
    _, plain, over, _ = samples_html(report(row("patch:8", 1.0), samples=samples))
    # Where windows do not overlap, each has a band behind the curve too.
    assert plain.count("<rect") == 2 * 6
    assert over.count("<rect") == samples["patch:16/8"].count
    points = svg_of(plain).find("polyline")
    assert points is not None
    assert len(points.attrib["points"].split()) == 48


def test_the_ladder_marks_crossings_floors_and_what_has_not_begun() -> None:
    drawn = svg_of(
        ladder_svg(report(row("coarse", 3.0, 2.5, 2.4), row("fine", 9.5, 3.0, 1.5, floor=9.0)))
    )
    circles = [one.attrib.get("class") for one in drawn.iter("circle")]
    assert circles.count("hollow") == 1
    assert circles.count("full") == 5
    assert circles.count("cross") == 1
    assert len([one for one in drawn.iter("line") if one.attrib.get("class") == "floor"]) == 2
    assert ladder_svg(report(Row("broken", BITS_PER_BYTE, failure="no"))) == ""


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=8, unique=True))
def test_names_at_the_ends_never_cover_each_other(scores: list[float]) -> None:
    rows = [row(f"cut:{i}", s + 2, s + 1, s, floor=1e3) for i, s in enumerate(scores)]
    drawn = svg_of(ladder_svg(report(*rows)))
    heights = sorted(
        float(one.attrib["y"]) for one in drawn.iter("text") if one.attrib.get("class") == "end"
    )
    assert len(heights) == len(rows)
    assert all(b - a >= 15 for a, b in pairwise(heights))
    assert 0 < heights[0] <= heights[-1] < 340


def test_budgets_lie_on_a_log_axis() -> None:
    made = report(row("fine", 3.0, 2.0, 1.5, floor=9.0))
    drawn = svg_of(ladder_svg(replace(made, budgets=("1 GFLOP", "2 GFLOP", "16 GFLOP"))))
    line = next(e for e in drawn.iter() if e.tag.endswith("polyline"))
    x = [float(point.split(",")[0]) for point in line.attrib["points"].split()]
    # Three doublings after the first one.
    assert (x[2] - x[1]) == pytest.approx(3 * (x[1] - x[0]), abs=0.5)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_are_few_and_hold_the_range(low: float, room: float) -> None:
    ticks = ticks_of(low, low + room)
    step = ticks[1] - ticks[0]
    assert 2 <= len(ticks) <= 9
    assert ticks[0] <= low + step * 1e-6
    assert ticks[-1] >= low + room - step * 1e-6


def test_the_page_tells_answer_difference_and_command(tmp_path: Path) -> None:
    made = report(row("fine", 4.0, 2.0, 1.0), row("coarse", 3.0, 2.5, 2.4))
    object.__setattr__(made, "command", "tokfrag compare 'my <file>.txt'")
    made.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "tokfrag compare &#x27;my &lt;file&gt;.txt&#x27;" in page
    main = page[page.index('<table class="main">') : page.index("</table>")]
    assert main.index("fine") < main.index("coarse")
    assert main.count("<svg") == 2
    assert "1M" in main
    assert "<script" not in page
    for tag in ("div", "svg", "figure", "details", "table", "span", "ul"):
        assert page.count(f"<{tag}") == page.count(f"</{tag}>")


def test_without_a_terminal_progress_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2, 1, enabled=True) as bar:
        bar.training("bytes", 0)
        bar.update(0.5)
        bar.finish()
        bar.row("bytes: 2.5")
    told = capsys.readouterr().err
    assert re.fullmatch(r" *\d+\.\d s  bytes: 2\.5\n", told)
    with Progress(1, 1, enabled=False) as bar:
        bar.row("bytes: 2.5")
    assert capsys.readouterr().err == ""
