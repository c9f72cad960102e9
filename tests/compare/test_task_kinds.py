"""Tasks beyond text and series: tags, pairs, labels, sounds, sensors, items, molecules."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sound_cases import write_wav  # noqa: E402
from tokfrag.compare import Samples, Split, as_cut, compare, parse_cut  # noqa: E402
from tokfrag.compare.body import Body  # noqa: E402
from tokfrag.compare.problems import PredictTarget, RankItems, TagWords  # noqa: E402
from tokfrag.compare.problems.graphs import GatLayer, MeanLayer  # noqa: E402
from tokfrag.compare.problems.pairs import CutInParts  # noqa: E402
from tokfrag.compare.problems.tags import piece_ends, word_places  # noqa: E402
from tokfrag.compare.tasks import TASKS, make_task  # noqa: E402
from tokfrag.compare.tasks.items import ItemsTask  # noqa: E402
from tokfrag.compare.tasks.labels import LabelsTask  # noqa: E402
from tokfrag.compare.tasks.molecules import MoleculesTask  # noqa: E402
from tokfrag.compare.tasks.pairs import PairsTask  # noqa: E402
from tokfrag.compare.tasks.pictures import PicturesTask  # noqa: E402
from tokfrag.compare.tasks.recordings import ArraysTask  # noqa: E402
from tokfrag.compare.tasks.sensors import SensorsTask  # noqa: E402
from tokfrag.compare.tasks.series import SeriesTask  # noqa: E402
from tokfrag.compare.tasks.sounds import SoundsTask  # noqa: E402
from tokfrag.compare.tasks.tags import TagsTask  # noqa: E402

NEW: dict[str, tuple[Any, list[str]]] = {
    "items": (ItemsTask(people=60), ["items", "hashes:16", "items:4/2"]),
    "labels": (LabelsTask(context=64), ["bytes", "bpe:300+pairs@mean", "words:100"]),
    "molecules": (MoleculesTask(molecules=80), ["smiles", "atoms:1", "bpe:270"]),
    "pairs": (PairsTask(pairs=60), ["bytes", "bpe:270", "window:4/2"]),
    "pictures": (PicturesTask(per_class=12), ["patch:8", "quad:4/8"]),
    "sensors": (SensorsTask(look_back=8), ["patch:1x8", "patch:1x4/1x2"]),
    "sounds": (SoundsTask(sounds=40), ["mulaw:256/40", "mel:20", "patch:200/80"]),
    "tags": (TagsTask(sentences=60), ["bytes", "bpe:300", "window:4/1"]),
}


@pytest.mark.parametrize("name", list(NEW))
def test_a_task_runs_with_its_cuts_and_names_them(name: str) -> None:
    task, cuts = NEW[name]
    report = compare(task, cuts, budget="2 steps", seeds=1)
    rows = [row for row in report.rows if row.facts is not None]
    assert [row.name for row in rows] == cuts
    for row in rows:
        assert row.failures == []
        assert row.quality is not None
        assert math.isfinite(row.quality)
    assert all(math.isfinite(row.baseline) for row in report.rows if row.baseline is not None)
    assert [as_cut(cut).name for cut in task.default_cuts()] == list(task.default_cuts())


def test_every_shipped_task_is_tested() -> None:
    old = {"digits", "motion", "series", "text", "volume"}
    assert set(TASKS) == {*NEW, *old, "arrays"}


@pytest.mark.parametrize("name", list(NEW))
def test_nothing_to_learn_from_is_judged(name: str) -> None:
    task, _ = NEW[name]
    split: Split = task.split()
    key = (lambda x: x.tobytes()) if isinstance(split.train.x, np.ndarray) else (lambda x: x)
    if name != "items":
        shared = {key(x) for x in split.train.x} & {key(x) for x in split.test.x}
        assert len(shared) < 0.05 * len(split.test)


# --- tags


@pytest.mark.parametrize(
    "cut", ["bytes", "chars", "bpe:300", "window:3/2", "entropy:3", "words:20"]
)
def test_words_are_found_in_pieces_of_every_kind(cut: str) -> None:
    texts = ["Zoë went to Köln .".encode(), b"In Ulm , Bo met Al ."]
    fitted = parse_cut(cut).fit(Samples(texts * 4))
    pieces = fitted.cut(texts)
    y = np.full((2, 7, 3), -1, np.int64)
    for row, text in zip(y, texts, strict=True):
        begin = 0
        for i, word in enumerate(text.split(b" ")):
            row[i] = begin, begin + len(word), 0
            begin += len(word) + 1
    places = word_places(pieces, Samples(texts, y), fitted)
    for row, length, text, place in zip(pieces.values, pieces.lengths, texts, places, strict=True):
        ends = piece_ends(fitted, row[:length], len(text))
        starts = np.concatenate(([0], ends[:-1]))
        words = y[0 if text is texts[0] else 1]
        for (begin, _, _), found in zip(words, place, strict=True):
            assert begin < 0 or starts[found] <= begin < ends[found]
        assert (place >= 0).sum() == (words[:, 0] >= 0).sum()


@pytest.mark.parametrize("cut", ["bytes", "bpe:300", "window:4/1", "entropy:4"])
def test_sentences_longer_than_any_to_learn_from_are_kept_whole(cut: str, tmp_path: Path) -> None:
    text = "Ada\tB-person\nwrote\tO\n\nIn\tO\nUlm\tB-place\n\n"
    (tmp_path / "train.conll").write_text(text * 10)
    (tmp_path / "test.conll").write_text("\u2603\u2603\u2603\tO\n" * 20 + "\n" + text)
    task = make_task("tags", tmp_path / "train.conll", {"test": str(tmp_path / "test.conll")})
    split = task.split()
    assert len(split.test.x[0]) > 100
    fitted = parse_cut(cut).fit(split.train)
    places = word_places(fitted.cut(split.test.x), split.test, fitted)
    assert (places[0] >= 0).sum() == 20


def test_a_tokenizer_whose_pieces_do_not_cover_the_text_is_refused_for_tags() -> None:
    fitted = parse_cut("bytes").fit(Samples([b"abc"]))
    with pytest.raises(ValueError, match="pieces stand for 2 bytes of a text of 3"):
        piece_ends(fitted, np.array([97, 98]), 3)


def test_f1_is_the_mean_of_its_parts_and_is_one_for_the_truth() -> None:
    task = TagsTask(sentences=40)
    problem = task.problem()
    assert isinstance(problem, TagWords)
    test = task.split().test
    fitted = parse_cut("bytes").fit(test)
    pieces = fitted.cut(test.x)
    _, targets = problem.tensors(pieces, test, fitted)
    right = torch.nn.functional.pad(targets, (0, problem.longest - targets.shape[1])).short()
    assert problem.score(right, test, fitted) == 1
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.random(right.shape) < 0.1)
    some = torch.where(noise, torch.full_like(right, task.tags.index("O")), right)
    score = problem.score(some, test, fitted)
    values, weights = problem.items(some, test, fitted)
    assert 0.3 < score < 1
    assert values @ weights / weights.sum() == pytest.approx(score)


def test_tags_take_official_parts(tmp_path: Path) -> None:
    text = "Ada\tB-person\nwrote\tO\n\nIn\tO\nUlm\tB-place\n\n"
    for part in ("train", "test", "dev"):
        (tmp_path / f"{part}.conll").write_text(text * 20)
    task = make_task(
        "tags",
        tmp_path / "train.conll",
        {"test": str(tmp_path / "test.conll"), "choose": str(tmp_path / "dev.conll")},
    )
    split = task.split()
    assert (len(split.train), len(split.test), len(split.choose or ())) == (40, 40, 40)
    assert task.baselines(split)["each word's most frequent tag"] == 1
    assert task.baselines(split)["linear model"] > 0.9


# --- pairs


@pytest.mark.parametrize("cut", ["bytes", "bpe:280", "window:4/2", "entropy:3"])
def test_only_the_second_part_is_asked_for(cut: str) -> None:
    samples = Samples([b"two cats\tdeux chats\n", b"a\tb\n", b"seven\tsept\n"])
    fitted = CutInParts(parse_cut(cut)).fit(samples)
    problem = PredictTarget()
    pieces = fitted.cut(samples.x)
    _, targets = problem.tensors(pieces, samples, fitted)
    assert fitted.decode is not None
    for row, length, text in zip(pieces.values, pieces.lengths, samples.x, strict=True):
        assert fitted.decode(row[:length]) == text
    # A network that knows nothing pays 8 bits a byte of the second part only.
    if cut in ("bytes", "window:4/2"):
        asked = int((targets < 256).sum())
        assert asked == sum(len(text.split(b"\t")[1]) for text in samples.x)
        logits = torch.zeros(*targets.shape, 256)
        found = problem.summary(logits, targets)
        assert problem.score(found, samples, fitted) == pytest.approx(8)
        assert problem.more(found, samples, fitted) == {"exact match": 0}
        sure = torch.nn.functional.one_hot(targets.clamp(max=255), 256) * 50.0
        assert problem.more(problem.summary(sure, targets), samples, fitted) == {"exact match": 1}


def test_an_answer_that_is_chance_cannot_be_told() -> None:
    rng = np.random.default_rng(0)

    class Chance(PairsTask):
        def split(self) -> Split:
            digits = rng.integers(0, 10, (400, 4))
            texts = [f"{i}\t{''.join(map(str, row))}\n".encode() for i, row in enumerate(digits)]
            return Split(Samples(texts[:300]), Samples(texts[300:]))

    row = compare(Chance(), ["bytes"], budget="150 steps", seeds=1).rows[0]
    assert row.quality is not None
    # Four of five bytes are one of ten digits, the last one is always the same.
    assert row.quality > 0.95 * 0.8 * math.log2(10)


# --- labels


def test_labels_come_from_columns_that_are_named(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    rows = "".join(f"{i},a text of {i},{'xy'[i % 2]}\n" for i in range(40))
    path.write_text("id,words,kind\n" + rows)
    with pytest.raises(ValueError, match=r"which column is the label.*--set label=NAME, one of id"):
        make_task("labels", path, {})
    with pytest.raises(ValueError, match=r"which column is the text.*--set text=NAME"):
        make_task("labels", path, {"label": "kind"})
    task = make_task("labels", path, {"label": "kind", "text": "words"})
    assert len(task.split().test) == 8
    (tmp_path / "test.csv").write_text("id,words,kind\n1,strange,z\n")
    with pytest.raises(ValueError, match="got the label 'z', not among those"):
        make_task(
            "labels", path, {"label": "kind", "text": "words", "test": str(tmp_path / "test.csv")}
        )


def test_pairs_of_words_tell_what_words_alone_do_not() -> None:
    rng = np.random.default_rng(0)
    texts, labels = [], []
    for _ in range(400):
        words = ["not", "good"] if rng.random() < 0.5 else ["good", "not"]
        filler = rng.choice(["a", "b", "c", "d"], 4).tolist()
        texts.append(" ".join([*filler[:2], *words, *filler[2:]]))
        labels.append(int(words[0] == "not"))
    report = compare(
        (texts, np.array(labels)),
        ["words:50@mean", "words:50+pairs@mean"],
        budget="200 steps",
        seeds=1,
        model=lambda spec, outputs: Bag(spec, outputs),
    )
    alone, pairs = (row.quality for row in report.rows[:2])
    assert alone is not None
    assert alone < 0.7
    assert pairs is not None
    assert pairs > 0.95


class Bag(torch.nn.Module):
    """The mean of looked-up vectors, and a linear map: order is lost."""

    def __init__(self, spec: Any, outputs: int):
        super().__init__()
        self.table = torch.nn.Embedding(spec.vocabulary + 1, 16)
        self.head = torch.nn.Linear(16, outputs)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.table(ids.long().flatten(1)).mean(1))
        return answer


# --- sensors


def ring_csv(folder: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    values = 60 + np.cumsum(rng.normal(size=(400, 5)), 0)
    links = np.roll(np.eye(5), 1, 1)
    np.savetxt(folder / "speed.csv", values, delimiter=",")
    np.savetxt(folder / "links.csv", links, delimiter=",", fmt="%g")
    return folder / "speed.csv", folder / "links.csv"


def test_sensors_are_judged_in_their_own_units_beside_persistence(tmp_path: Path) -> None:
    speed, links = ring_csv(tmp_path)
    with pytest.raises(ValueError, match="--set graph=PATH names a CSV"):
        make_task("sensors", speed, {})
    for measure in ("MAE", "MSE"):
        task = make_task("sensors", speed, {"graph": str(links), "measure": measure})
        split = task.split()
        values = np.loadtxt(speed, delimiter=",")[320:]
        wrong = np.stack([values[11 + i : len(values) - 3 + i] for i in (1, 2, 3)], -1)
        wrong = wrong[: len(split.test)] - values[11 : len(values) - 3][: len(split.test), :, None]
        power = {"MAE": np.abs(wrong), "MSE": wrong**2}[measure].mean()
        assert task.baselines(split)["persistence"] == pytest.approx(power)
        row = compare(task, ["patch:1x12"], budget="2 steps", seeds=1).rows[0]
        # Begun at zero, a network says that nothing changes.
        assert row.quality == pytest.approx(power, rel=0.1)
        assert set(row.more) == ({"RMSE"} if measure == "MAE" else {"RMSE", "MAE"})
    np.savetxt(links, np.eye(4), delimiter=",")
    with pytest.raises(ValueError, match="a matrix of 4 x 4 for 5 sensors"):
        make_task("sensors", speed, {"graph": str(links)})


@pytest.mark.parametrize("layer", [MeanLayer, GatLayer])
def test_graph_layers_see_neighbours_and_nobody_else(layer: type) -> None:
    linked = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    torch.manual_seed(0)
    made = layer(8, linked) if layer is MeanLayer else layer(8, 2, linked)
    x = torch.randn(1, 3, 8)
    before = made(x)
    for source in range(3):
        changed = x.clone()
        changed[0, source] += 1
        moved = (made(changed) - before).abs().sum(-1)[0] > 1e-6
        assert moved.tolist() == [bool(linked[i, source]) or i == source for i in range(3)]


@pytest.mark.parametrize("kind", ["mean", "gat", "attention", "recurrent"])
def test_sensors_take_bodies_over_graphs_and_others(kind: str) -> None:
    task = NEW["sensors"][0]
    row = compare(task, ["patch:1x4"], budget="2 steps", seeds=1, model=Body(kind, 16)).rows[0]
    assert row.failures == []


def test_graph_bodies_take_pieces_of_one_sensor_and_a_graph() -> None:
    with pytest.raises(ValueError, match=r"body gat: takes pieces of one sensor.*got 16x8"):
        compare(NEW["sensors"][0], ["patch:16x8"], budget="2 steps", model=Body("gat", 16))
    with pytest.raises(ValueError, match="body mean: takes a graph of pieces"):
        compare("digits", ["patch:4"], budget="2 steps", model="mean")


# --- sounds, pictures, arrays


def test_folders_of_sounds_are_read_from_where_they_begin(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, pitch in (("low", 0.05), ("high", 0.5)):
        for i in range(12):
            tone = 20000 * np.sin(np.arange(400) * pitch * rng.uniform(0.9, 1.1))
            write_wav(tmp_path / kind / f"{i}.wav", np.concatenate((np.zeros(i * 50), tone)))
    task = make_task("sounds", tmp_path, {"seconds": "0.05"})
    x = task.split().train.x
    assert x.shape[1:] == (1, 400)
    assert np.abs(x[:, 0, :30]).max(1).min() > 0.05
    row = compare(task, ["mel:10x100/50"], budget="40 steps", seeds=1).rows[0]
    assert row.quality == 1


def test_recordings_of_an_archive_are_parted_by_whom_they_are_from(tmp_path: Path) -> None:
    lengths = np.arange(10, 40)
    subject, action = np.arange(30) % 6, np.arange(30) % 2 + 1
    joints = np.repeat(action, lengths)[:, None, None] * np.ones((1, 4, 3))
    np.savez(tmp_path / "m.npz", joints=joints, n=lengths, subject=subject, action=action)
    named = {"x": "joints", "y": "action", "lengths": "n", "groups": "subject", "frames": "8"}
    task = make_task("arrays", tmp_path / "m.npz", {**named, "test_groups": "1,3"})
    split = task.split()
    assert split.test.x.shape == (10, 1, 8, 12)
    assert split.choose is not None
    assert len(split.train) + len(split.choose) == 20
    assert [parse_cut(cut).name for cut in task.default_cuts()] == list(task.default_cuts())
    with pytest.raises(ValueError, match="test_groups: got '9'; it takes some of 0, 1, 2"):
        make_task("arrays", tmp_path / "m.npz", {**named, "test_groups": "9"})
    with pytest.raises(ValueError, match="takes groups=NAME beside it"):
        make_task("arrays", tmp_path / "m.npz", {"test_groups": "1"})
    with pytest.raises(ValueError, match="got no data"):
        ArraysTask()


# --- items, molecules


def test_hits_and_ranks_are_what_they_say() -> None:
    problem = RankItems(20, 10)
    scores = torch.arange(20.0)[None].repeat(3, 1)
    found = problem.summary(scores, torch.tensor([19, 10, 9]))
    assert found[:, 0].tolist() == [1, 1, 0]
    assert found[:, 1].tolist() == pytest.approx([1, 1 / 10, 1 / 11])
    # The same answer for every item is no hit.
    assert problem.summary(torch.zeros(1, 20), torch.tensor([3]))[0, 0] == 0


def test_histories_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    rows = [f"{u},{'abcdef'[i]},{10 - i}" for u in range(12) for i in range(6)]
    path.write_text("user,item,time\n" + "\n".join(rows) + "\n")
    task = ItemsTask(path, length=3)
    assert task.split().test.x[0, 0].tolist() == [3, 2, 1]
    assert task.split().test.y[0] == 0
    lines = tmp_path / "h.txt"
    lines.write_text("a b c d\n" * 12)
    assert ItemsTask(lines).split().test.y.tolist() == [3] * 12
    path.write_text("who,what\n1,2\n")
    with pytest.raises(ValueError, match="which column holds the user"):
        ItemsTask(path)


def test_molecules_are_told_by_value_or_by_class(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    kinds = ["CCO", "CCN", "CCC", "c1ccccc1"]
    path.write_text(
        "smiles,logp\n" + "".join(f"{kinds[i % 4]}{'C' * i},{i / 7}\n" for i in range(30))
    )
    task = MoleculesTask(path)
    assert task.classes == ()
    assert task.problem().metric.name == "MAE"
    path.write_text("smiles,toxic\n" + "".join(f"{'C' * (i + 1)},{i % 2}\n" for i in range(30)))
    assert MoleculesTask(path).classes == ("0", "1")
    path.write_text("smiles,toxic\nC(C,1\nCC,0\n")
    with pytest.raises(ValueError, match="row 1: smiles: 'C\\(C' has a branch"):
        MoleculesTask(path)


def test_tasks_refuse_what_would_be_read_wrongly(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    rows = [f"u{i // 6},i{i % 5},{i}" for i in range(90)]
    path.write_text("\n".join(["user,item,time", *rows[:4], "u0,i4,", *rows[5:]]))
    with pytest.raises(ValueError, match="time of the entry 5: got '' among numbers"):
        ItemsTask(path)
    path.write_text("smiles,y\n" + "".join(f"{'C' * i},{i}.5\n" for i in range(1, 9)) + "O,1e300\n")
    with pytest.raises(ValueError, match="got '1e300'"):
        MoleculesTask(path)
    path.write_text("ab O\ncd O\n\n" * 9)
    with pytest.raises(ValueError, match="has no entities"):
        TagsTask(path)
    path.write_text("".join(f'"a\tb{i}",c{i}\n' for i in range(20)))
    assert all(text.count(b"\t") == 1 for text in PairsTask(path).split().train.x)


@pytest.mark.parametrize("setting", [{"look_back": 0}, {"horizon": -3}, {"test_samples": -1}])
def test_windows_of_series_have_a_length(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="look_back, horizon, test_samples: got"):
        SeriesTask(**setting)  # type: ignore[arg-type]


def test_as_many_rows_as_sensors_are_told_to_take_are_enough(tmp_path: Path) -> None:
    data, graph = tmp_path / "data.csv", tmp_path / "graph.csv"
    values = np.random.default_rng(0).normal(size=(155, 2))
    np.savetxt(graph, np.ones((2, 2)), delimiter=",")
    np.savetxt(data, values[:140], delimiter=",")
    with pytest.raises(ValueError, match=r"got 140 rows.*take 155 or more"):
        SensorsTask(data, graph=str(graph))
    np.savetxt(data, values, delimiter=",")
    assert SensorsTask(data, graph=str(graph)).split().choose is not None


@pytest.mark.parametrize("side", [2, 4, 5, 8, 16, 64])
def test_default_cuts_of_pictures_are_told_once(side: int, tmp_path: Path) -> None:
    for i in range(10):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        np.save(tmp_path / "ab"[i % 2] / f"{i}.npy", np.zeros((1, side, side)))
    cuts = PicturesTask(tmp_path).default_cuts()
    assert len(set(cuts)) == len(cuts) >= 3
    assert len({as_cut(cut).name for cut in cuts}) == len(cuts)


def test_a_folder_to_choose_on_is_heeded(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "test", "val")):
        for kind in "ab":
            (tmp_path / part / kind).mkdir(parents=True)
            np.save(tmp_path / part / kind / "1.npy", np.full((1, 4, 4), float(number)))
    split = PicturesTask(tmp_path).split()
    assert split.choose is not None
    assert [float(part.x.mean()) for part in (split.train, split.test, split.choose)] == [0, 1, 2]
    assert all(part.y.tolist() == [0, 1] for part in (split.train, split.test, split.choose))


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        ({}, {"test_groups": "1,9"}, "test_groups: got '1,9'; it takes some of 0, 1, 2"),
        ({}, {"test_groups": "1,x"}, "test_groups: got '1,x'"),
        ({}, {"channels_first": "true"}, "channels_first: got 'true'"),
        ({"y": np.arange(5)}, {}, "got 12 samples, 5 in y, 12 in groups"),
        ({"who": np.arange(5)}, {}, "got 12 samples, 12 in y, 5 in groups"),
        ({"n": np.full(5, 12)}, {"lengths": "n"}, "got 5 samples, 12 in y"),
        ({"n": np.array([-5, *[5] * 10, 15])}, {"lengths": "n"}, "whole numbers from 0 on"),
    ],
)
def test_arrays_of_an_archive_fit_each_other(
    change: dict[str, Any], settings: dict[str, str], told: str, tmp_path: Path
) -> None:
    held = {"x": np.ones((60, 2)), "n": np.full(12, 5), "y": np.arange(12) % 2}
    held["who"] = np.arange(12) % 3
    if "lengths" not in settings:
        held["x"] = np.ones((12, 1, 4))
    path = tmp_path / "some.npz"
    np.savez(path, **held | change)
    with pytest.raises(ValueError, match=told):
        ArraysTask(path, groups="who", **settings)  # type: ignore[arg-type]


def test_pairs_are_of_digits(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, images=np.ones((30, 4, 4), np.uint8), labels=np.arange(30))
    with pytest.raises(ValueError, match="pair takes the digits 0 to 9, got the label 29"):
        make_task("motion", path, {"label": "pair", "clips": "20"})
    with pytest.raises(ValueError, match=r"got 'gone.txt'.*there is none of that name"):
        make_task("gone.txt", None, {})
