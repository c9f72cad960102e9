"""The shipped tasks: their data, their files, and that nobody is told what they should predict."""

from __future__ import annotations

import codecs
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from tokfrag.compare import Samples, Split, compare, parse_cut  # noqa: E402
from tokfrag.compare.batches import Part  # noqa: E402
from tokfrag.compare.body import Body  # noqa: E402
from tokfrag.compare.problems import NextPiece, PredictNext, Segment  # noqa: E402
from tokfrag.compare.step import outputs_of  # noqa: E402
from tokfrag.compare.tasks import make_task  # noqa: E402
from tokfrag.compare.tasks.digits import DigitsTask, read_idx  # noqa: E402
from tokfrag.compare.tasks.motion import MotionTask  # noqa: E402
from tokfrag.compare.tasks.series import SeriesTask, read_csv  # noqa: E402
from tokfrag.compare.tasks.text import TextTask  # noqa: E402
from tokfrag.compare.tasks.volume import VolumeTask  # noqa: E402
from tokfrag.compare.text import chunks  # noqa: E402

SMALL = {
    "digits": (DigitsTask(), ["patch:4"]),
    "motion": (MotionTask(clips=40, frames=4), ["patch:2x8x8", "patch:2x8x8+diff"]),
    "series": (SeriesTask(look_back=48, horizon=8, test_samples=50), ["patch:16/8"]),
    "text": (TextTask(texts=["to be, or not to be " * 60]), ["bytes", "chars", "window:8/4"]),
    "volume": (VolumeTask(volumes=4, extent=12), ["whole", "patch:6/3+hann"]),
}


@pytest.mark.parametrize("name", list(SMALL))
def test_task_runs_with_its_own_cuts_named(name: str) -> None:
    task, cuts = SMALL[name]
    report = compare(task, cuts, budget="2 steps", seeds=1)
    rows = [row for row in report.rows if row.facts is not None]
    assert [row.name for row in rows] == cuts
    for row in rows:
        assert row.quality is not None
        assert math.isfinite(row.quality)
        assert row.facts is not None
        assert row.facts.flops_predicted == pytest.approx(row.facts.flops, rel=0.02)
        assert row.facts.memory_predicted == pytest.approx(row.facts.memory, rel=0.35)
    assert [parse_cut(cut).name for cut in task.default_cuts()] == list(task.default_cuts())


@pytest.mark.parametrize("task", [task for task, _ in SMALL.values()], ids=list(SMALL))
def test_the_test_part_is_apart_from_training(task: object) -> None:
    split = task.split()  # type: ignore[attr-defined]
    assert len(split.train) > len(split.test) > 0
    if isinstance(split.train.x, np.ndarray):
        trained = {x.tobytes() for x in split.train.x}
        assert not any(x.tobytes() in trained for x in split.test.x)


@given(st.text(), st.integers(8, 20))
def test_chunks_are_whole_characters_and_lose_nothing(text: str, size: int) -> None:
    raw = text.encode("utf-8", "ignore")
    parts = chunks(raw, size)
    assert b"".join(parts) == raw
    for part in parts:
        assert len(part) <= size
        part.decode()


@pytest.mark.parametrize("cut", ["bytes", "chars", "window:4", "window:6/2"])
def test_no_piece_is_told_what_it_predicts(cut: str) -> None:
    texts = [b"the quick brown fox jumps", b"over the lazy dog!"]
    fitted = parse_cut(cut).fit(Samples(texts))
    problem = PredictNext()
    torch.manual_seed(0)
    network = problem.network(fitted.spec, Body(width=16, depth=1, heads=2))
    for place in range(len(texts[0])):
        changed = bytearray(texts[0])
        changed[place] = ord("e")
        nats = []
        for text in (texts[0], bytes(changed)):
            pieces = fitted.cut([text])
            inputs, targets = problem.tensors(pieces, Samples([text]), fitted)
            with torch.no_grad():
                logits = network(inputs)
            loss = torch.nn.functional.cross_entropy(
                logits[0], targets[0], reduction="none", ignore_index=logits.shape[-1]
            )
            nats.append(loss[:place])
        assert torch.allclose(*nats, atol=1e-5)


@pytest.mark.parametrize("cut", ["bytes", "window:4", "window:6/2"])
def test_a_network_that_knows_nothing_takes_eight_bits_a_byte(cut: str) -> None:
    texts = [b"seventeen bytes..", b"and eight"]
    samples = Samples(texts)
    fitted = parse_cut(cut).fit(samples)
    problem = PredictNext()
    network = problem.network(fitted.spec, Body(width=16, depth=1, heads=2))
    assert isinstance(network, NextPiece)
    head = network.body.embed.table if network.tied else network.head
    torch.nn.init.zeros_(head.weight)
    if not network.tied:
        torch.nn.init.zeros_(head.bias)
    part = Part.of(problem, fitted.cut(texts), samples, fitted)
    score = problem.score(outputs_of(network, problem, part), samples, fitted)
    assert score == pytest.approx(8, abs=1e-5)


def test_characters_never_seen_are_spelt_in_bytes() -> None:
    fitted = parse_cut("chars").fit(Samples([b"abcabc"]))
    pieces = fitted.cut(["ab\u00e9".encode()])
    assert pieces.values.tolist() == [[0, 1, 3 + 0xC3, 3 + 0xA9]]
    assert pieces.unknown == 0.5


def test_a_tokenizer_of_ones_own_goes_in_as_it_is() -> None:
    class Words:
        n_vocab = 3

        def encode(self, text: str) -> list[int]:
            return [
                ("to", "be").index(word) if word in ("to", "be") else 2 for word in text.split()
            ]

    report = compare(["to be or not to be"] * 100, [Words()], budget="2 steps", seeds=1)
    row = report.rows[0]
    assert row.name == "words:3"
    # It has no decode: nothing shows that it keeps the text.
    assert row.honesty.lossy
    assert row.facts is not None
    assert row.facts.vocabulary == 3
    with pytest.raises(TypeError, match="tells no vocab_size"):
        compare(["to be"] * 300, [codecs.lookup("utf-8")], budget="2 steps")


def test_windows_of_bytes_end_in_their_new_bytes() -> None:
    fitted = parse_cut("window:4/2").fit(Samples([b"abcde"]))
    nothing = 256
    a, b, c, d, e = b"abcde"
    assert fitted.cut([b"abcde"]).values.tolist() == [
        [[nothing, nothing, a, b], [a, b, c, d], [c, d, e, nothing]]
    ]


def test_texts_with_labels_are_classified() -> None:
    texts = ["good " * 3, "bad " * 4] * 30
    labels = np.array([1, 0] * 30)
    report = compare((texts, labels), ["bytes", "window:4"], budget="25 steps", seeds=1)
    for row in report.rows[:2]:
        assert row.quality is not None
        assert row.quality > 0.9


def test_what_seams_lose_is_told_in_accuracy_on_the_same_places() -> None:
    task, cuts = VolumeTask(volumes=8, extent=16), ["whole", "patch:8", "patch:8/4+hann"]
    whole, cut, overlapped = compare(task, cuts, budget="15 steps", seeds=1).rows[:3]
    assert whole.seam_error == 0
    assert cut.seam_error is not None
    assert overlapped.seam_error is not None
    # Overlap hides seams: what is left is nearly nothing, either way.
    assert abs(overlapped.seam_error) < 0.02
    assert -0.02 < cut.seam_error < 0.3


def test_segmenting_asks_nothing_beyond_the_edge() -> None:
    x = np.random.default_rng(0).normal(size=(2, 1, 5, 5)).astype(np.float32)
    samples = Samples(x, (x > 0).astype(np.int64))
    fitted = parse_cut("patch:3").fit(samples)
    _, targets = Segment(2).tensors(fitted.cut(x), samples, fitted)
    assert int((targets >= 0).sum()) == 2 * 25
    assert int((targets == -1).sum()) == 2 * (36 - 25)


def test_forecast_baselines_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    task = SeriesTask(look_back=16, horizon=4)
    x = rng.normal(size=(300, 1, 16)).astype(np.float32)
    y = (x[:, 0, :4] * 2).astype(np.float32)
    split = Split(Samples(x[:200], y[:200]), Samples(x[200:], y[200:]))
    found = task.baselines(split)
    assert found["persistence"] == pytest.approx(np.mean(y[200:] ** 2), rel=1e-5)
    assert found["linear model"] < 0.01 * found["persistence"]


def test_csv_is_read_with_names_dates_and_gzip(tmp_path: Path) -> None:
    text = "date,a,b\n2020-01-01,1,2.5\n2020-01-02,-3,4e2\n"
    plain, packed = tmp_path / "x.csv", tmp_path / "x.csv.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        assert read_csv(path).tolist() == [[1, 2.5], [-3, 400]]
    plain.write_text("1,2\n3,4\n")
    assert read_csv(plain).tolist() == [[1, 2], [3, 4]]


def test_names_that_are_numbers_are_no_data(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("773869,767541\n64.4,67.6\n62.7,68.5\n61.0,69.0\n")
    data = [[64.4, 67.6], [62.7, 68.5], [61.0, 69.0]]
    assert read_csv(path).tolist() == data
    assert read_csv(path, header="yes").tolist() == data
    assert read_csv(path, header="no").tolist() == [[773869, 767541], *data]
    # One column within its range is enough for it to be a row of values.
    path.write_text("773869,67\n64.4,67.6\n62.7,66.5\n")
    assert len(read_csv(path)) == 3
    with pytest.raises(ValueError, match="header: got 'maybe'; it takes one of auto, yes, no"):
        read_csv(path, header="maybe")
    path.write_bytes(b"\x1f\x8bnot gzip")
    with pytest.raises(ValueError, match="broken gzip"):
        read_csv(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", "line 3, column 2: 'x' is not a finite number"),
        ("a,b\n1,2\n3\n", "line 3: got 1 columns, the first had 2"),
        ("a,b\n1,nan\n", "line 2, column 2"),
        ("a,b\n", "has no rows"),
        ("a\n2020-01-01\n", "line 2: .2020-01-01. is not a finite number"),
        ("1,2\n" * 20, "got 20 rows"),
    ],
)
def test_broken_csv_is_named_by_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        SeriesTask(path)


def test_idx_and_npz_give_the_same_digits(tmp_path: Path) -> None:
    images = np.arange(20 * 12, dtype=np.uint8).reshape(20, 4, 3)
    labels = (np.arange(20) % 3).astype(np.uint8)
    head = bytes([0, 0, 8, 3]) + np.array([20, 4, 3], ">u4").tobytes()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
    head = bytes([0, 0, 8, 1]) + np.array([20], ">u4").tobytes()
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + labels.tobytes()))
    np.savez(tmp_path / "digits.npz", images=images, labels=labels)
    first = DigitsTask(tmp_path / "train-images-idx3-ubyte.gz").split()
    second = DigitsTask(tmp_path / "digits.npz").split()
    np.testing.assert_array_equal(first.train.x, second.train.x)
    np.testing.assert_array_equal(first.test.y, second.test.y)
    assert first.train.x.shape == (16, 1, 4, 3)


def test_broken_pictures_are_refused(tmp_path: Path) -> None:
    short = tmp_path / "short-images-idx3-ubyte"
    short.write_bytes(bytes([0, 0, 8, 3]) + np.array([2, 2, 2], ">u4").tobytes() + b"abc")
    with pytest.raises(ValueError, match=r"\(2, 2, 2\) takes 24 bytes, the file has 19"):
        read_idx(short)
    other = tmp_path / "other.bin"
    other.write_bytes(b"hello")
    with pytest.raises(ValueError, match="neither npz nor idx"):
        read_idx(other)
    with pytest.raises(FileNotFoundError, match="no file of labels beside it"):
        DigitsTask(short)
    np.savez(tmp_path / "named.npz", pictures=np.zeros(3))
    with pytest.raises(ValueError, match="takes arrays 'images' and 'labels', got pictures"):
        DigitsTask(tmp_path / "named.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="is no npz file"):
        DigitsTask(tmp_path / "text.npz")


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"fine\nso fine \xff\n")
    with pytest.raises(ValueError, match="line 2, byte 9: is not UTF-8"):
        TextTask(path)


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("digits", {"images": np.full((40, 8, 8), "a"), "labels": np.arange(40)}, "takes numbers"),
        ("digits", {"images": np.zeros((40, 8, 8)), "labels": np.arange(40) - 3}, "the label -3"),
        ("digits", {"images": np.zeros((40, 8, 8)), "labels": np.full(40, 0.5)}, "whole numbers"),
        ("digits", {"images": np.zeros((40, 8, 8)), "labels": np.full(40, 1 << 40)}, "up to 65535"),
        ("digits", {"images": np.zeros((40, 8, 8, 3)), "labels": np.arange(40)}, "rows, columns"),
        ("motion", {"images": np.zeros((5, 8, 8)), "labels": np.arange(5)}, "takes 10 or more"),
        ("volume", {"image": np.zeros((8, 0, 4)), "label": np.zeros((8, 0, 4))}, "of one shape"),
        ("volume", {"image": np.zeros((8, 4, 4)), "label": np.zeros((8, 4, 5))}, "of one shape"),
    ],
)
def test_arrays_that_are_no_data_are_refused(
    name: str, arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        make_task(name, tmp_path / "x.npz", {})


@pytest.mark.parametrize("name", list(SMALL))
def test_files_that_are_no_data_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="takes a file, got a folder"):
        make_task(name, tmp_path, {})
    with pytest.raises(FileNotFoundError, match="no such file"):
        make_task(name, tmp_path / "none.npz", {})
    np.savez(tmp_path / "whole.npz", images=np.zeros((40, 8, 8)))
    cut_off = tmp_path / "half.npz"
    cut_off.write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"half\.npz: "):
        make_task(name, cut_off, {})
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(b"1,2\n" * 500)[:-6])
    with pytest.raises(ValueError, match=r"broken gzip|no npz file"):
        make_task(name, packed if name != "volume" else cut_off, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n" + "5\n" * 3000, "no column changes in the first 2100 rows"),
        ("a\n" + "1\n1e300\n" * 1500, "numbers are too large"),
        ("a;b\n" + "1;2\n" * 9, "line 2: '1;2' is not a finite number.*commas part columns"),
        ('a,b\n"1\n",2\n3,x\n', "line 4, column 2: 'x' is not a finite number"),
        ("a,b\n1,\r2\n", "line 2: is no CSV"),
    ],
)
def test_series_without_numbers_to_learn_from_are_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match=message):
        SeriesTask(path)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("text", {"context": "4"}, "context: got 4 bytes"),
        ("text", {"context": "many"}, "context takes a number"),
        ("text", {"width": "4"}, "got the setting 'width'; it takes context"),
        ("digits", {"size": "3"}, "it takes none"),
        ("motion", {"label": "colour"}, "label: got 'colour'"),
        ("motion", {"clips": "3"}, "clips, frames: got 3, 8"),
        ("volume", {"volumes": "1"}, "volumes, extent: got 1, 24"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(name, None, settings)


def test_volume_reads_npz(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(8, 6, 6))
    np.savez(tmp_path / "v.npz", image=image, label=image > 0)
    split = VolumeTask(tmp_path / "v.npz").split()
    assert split.train.x.shape == (6, 1, 6, 6)
    np.savez(tmp_path / "w.npz", image=image)
    with pytest.raises(ValueError, match="takes arrays 'image' and 'label'"):
        VolumeTask(tmp_path / "w.npz")


def test_page_is_self_contained(tmp_path: Path) -> None:
    task, cuts = SMALL["digits"]
    report = compare(task, cuts, budget="1 step", seeds=1, command="tokfrag compare <digits>")
    report.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "data:image/png;base64," in page
    assert "tokfrag compare &lt;digits&gt;" in page
    assert "patch:4" in page
    assert report.environment["processor"] in page
    assert "http" not in page.replace("http-equiv", "")
    for tag in ("table", "div", "h2", "ul", "body", "html"):
        assert page.count(f"<{tag}") == page.count(f"</{tag}>")
