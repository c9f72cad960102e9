"""Files: which task they stand for, and what is read from them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from sound_cases import write_wav
from tokfrag.compare.readers.conll import read_conll, spans
from tokfrag.compare.readers.folders import read_folders
from tokfrag.compare.readers.pictures import ENDINGS, read_pictures
from tokfrag.compare.readers.smiles import environments, read_smiles
from tokfrag.compare.readers.sounds import read_wav
from tokfrag.compare.readers.tables import read_table
from tokfrag.compare.tasks.telling import guess_task

FILES = {
    "corpus.txt": (b"To be, or not to be.\nThat is the question.\n", "text"),
    "notes.md": (b"# Notes\n\na\tb\n", "text"),
    "load.csv": (b"date,load\n2020-01-01,1.5\n2020-01-02,1.25\n", "series"),
    "bare.csv": (b"1,2\n3,4\n5,6\n", "series"),
    "sst.tsv": (b"sentence\tlabel\n" + b"a fine film\t1\nno film at all\t0\n" * 5, "labels"),
    "trec.txt": (b"1 what is this ?\n0 who was that ?\n1 why not ?\n", "labels"),
    "news.csv": (b"kind,title\n" + b"sport,they won again\nart,a new play\n" * 8, "labels"),
    "train.conll": (b"Ada\tB-person\nwrote\tO\n\nYes\tO\nthe\tO\n", "tags"),
    "emerging.annotated": (b"Ada\tB-person\nwrote\tO\n\nYes\tO\nthe\tO\n", "tags"),
    "fr.tsv": (b"a cat\tun chat\na dog\tun chien\nthe sea\tla mer\n", "pairs"),
    "clicks.csv": (b"user,item,time\n1,7,3\n1,8,4\n2,7,1\n", "items"),
    "esol.csv": (b"smiles,value\nCCO,1.5\nc1ccccc1,2.5\n", "molecules"),
    "unnamed.csv": (b"CC(=O)O,1.5\nc1ccccc1,2.5\nCC(C)C,0.5\n", "molecules"),
}


@pytest.mark.parametrize("name", list(FILES))
def test_the_task_is_told_from_the_file(name: str, tmp_path: Path) -> None:
    raw, task = FILES[name]
    (tmp_path / name).write_bytes(raw)
    assert guess_task(tmp_path / name) == task
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(raw))
    assert guess_task(packed) == task


def test_the_task_is_told_from_a_folder_or_an_archive(tmp_path: Path) -> None:
    write_wav(tmp_path / "sounds" / "a" / "1.wav", np.zeros(10))
    assert guess_task(tmp_path / "sounds") == "sounds"
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    np.save(tmp_path / "pictures" / "a" / "1.npy", np.zeros((2, 4, 4)))
    assert guess_task(tmp_path / "pictures") == "pictures"
    for arrays, task in (
        ({"images": np.zeros((3, 4, 4)), "labels": np.zeros(3)}, "digits"),
        ({"image": np.zeros((3, 4, 4)), "label": np.zeros((3, 4, 4))}, "volume"),
        ({"x": np.zeros((3, 2, 9)), "y": np.zeros((3, 4))}, "arrays"),
    ):
        np.savez(tmp_path / "some.npz", **arrays)
        assert guess_task(tmp_path / "some.npz") == task


def test_what_cannot_be_told_is_asked_for_by_its_option(tmp_path: Path) -> None:
    np.savez(tmp_path / "clips.npz", joints=np.zeros((9, 3)), action=np.zeros(2))
    with pytest.raises(ValueError, match=r"clips.npz holds joints \(9, 3\).*--set x=NAME y=NAME"):
        guess_task(tmp_path / "clips.npz")
    (tmp_path / "wide.csv").write_text("a,b,c\nsome words,more words,1\nother words,x y,2\n")
    with pytest.raises(ValueError, match=r"columns a, b, c; name a task.*text=NAME label=NAME"):
        guess_task(tmp_path / "wide.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no WAV files and no pictures in it"):
        guess_task(tmp_path / "empty")
    (tmp_path / "x.bin").write_bytes(b"abc\n")
    with pytest.raises(ValueError, match="the ending is of no known form"):
        guess_task(tmp_path / "x.bin")


def test_texts_with_a_number_each_are_pairs_and_no_series(tmp_path: Path) -> None:
    path = tmp_path / "numbers.tsv"
    path.write_text("".join(f"the number {i}\t{i * 2}\n" for i in range(50)))
    assert guess_task(path) == "pairs"
    path.write_text("".join(f"2020-01-{i:02}\t{i * 2}\n" for i in range(1, 30)).replace("\t", ","))
    assert guess_task(path) == "series"


def test_tables_say_where_they_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("text\tlabel\nfine\t1\nbad\n")
    with pytest.raises(ValueError, match="row 3: got 1 columns, the first had 2"):
        read_table(path)
    path.write_text("text\tlabel\nfine\t1\n")
    table = read_table(path)
    with pytest.raises(ValueError, match="has no column 'kind'; it has text, label"):
        table.column("kind")
    assert read_table(path, header="no").names == ("1", "2")
    with pytest.raises(ValueError, match="header: got 'maybe'"):
        read_table(path, header="maybe")
    # Latin-1, as the sentence sets of 2014 are written.
    path.write_bytes("1 d\xe9j\xe0 vu\n0 rien du tout\n".encode("latin-1"))
    assert read_table(path).column("text")[0] == "d\xe9j\xe0 vu"


def test_entities_are_those_of_conlleval() -> None:
    assert spans(("I-a", "I-a", "B-a", "I-b", "O", "S-c", "B-c", "E-c")) == {
        (0, 2, "a"),
        (2, 3, "a"),
        (3, 4, "b"),
        (5, 6, "c"),
        (6, 8, "c"),
    }


def test_conll_refuses_lines_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("-DOCSTART- O\n\nen:Ada\tB-PER\nword\n")
    with pytest.raises(ValueError, match="line 4: got 'word'; it takes a word and a tag"):
        read_conll(path)
    path.write_text("-DOCSTART- O\n\n\ufeffen:Ada\tB-PER\n\ufeff\n")
    assert read_conll(path)[0].words == ("Ada",)
    path.write_text("\n\n")
    with pytest.raises(ValueError, match="holds no sentences"):
        read_conll(path)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_of_every_width_is_read(width: int, tmp_path: Path) -> None:
    top = 1 << (8 * width - 1)
    values = np.array([0, top // 2, -top // 2, -top, top - 1, 1])
    write_wav(tmp_path / "a.wav", values, width=width)
    sound, rate = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    assert np.allclose(sound, values / top, atol=1e-6)
    write_wav(tmp_path / "b.wav", values, width=width, channels=2)
    assert np.allclose(read_wav(tmp_path / "b.wav")[0], (values / top).reshape(-1, 2).mean(1))
    (tmp_path / "c.wav").write_bytes(b"RIFFnothing")
    with pytest.raises(ValueError, match=r"c.wav: is no WAV"):
        read_wav(tmp_path / "c.wav")


def test_folders_have_classes_and_official_parts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for kind in ("cat", "dog"):
            (tmp_path / part / kind).mkdir(parents=True)
            np.save(tmp_path / part / kind / "1.npy", np.full((3, 4, 4), 1.0))
    found = read_folders(tmp_path, ENDINGS)
    assert (found.classes, found.labels, found.test_labels) == (("cat", "dog"), (0, 1), (0, 1))
    (tmp_path / "test" / "cow").mkdir()
    np.save(tmp_path / "test" / "cow" / "1.npy", np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="got the class 'cow'"):
        read_folders(tmp_path, ENDINGS)
    with pytest.raises(ValueError, match="a folder a class, two or more"):
        read_folders(tmp_path / "train" / "cat", ENDINGS)
    (tmp_path / "test").rename(tmp_path / "val")
    (tmp_path / "val" / "cow").rename(tmp_path / "cow")
    assert read_folders(tmp_path, ENDINGS).test_labels == (0, 1)
    (tmp_path / "test").mkdir()
    with pytest.raises(ValueError, match="test: has no folders with files"):
        read_folders(tmp_path, ENDINGS)
    (tmp_path / "val" / "cat").rename(tmp_path / "test" / "cat")
    found = read_folders(tmp_path, ENDINGS)
    assert (found.test_labels, found.choose_labels) == ((0,), (1,))
    assert [path.parts[-3] for path in found.every] == ["train", "train", "test", "val"]
    (tmp_path / "valid").mkdir()
    with pytest.raises(ValueError, match="got the parts test, val, valid; takes two"):
        read_folders(tmp_path, ENDINGS)


def test_pictures_come_in_colour_and_in_one_size(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    values = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image.fromarray(values).save(tmp_path / "a.png")
    image.fromarray(values[:, :6]).save(tmp_path / "b.png")
    found = read_pictures([tmp_path / "a.png"], None)
    assert np.array_equal(found[0], values.transpose(2, 0, 1))
    with pytest.raises(ValueError, match=r"b.png: is of \(6, 6\).*--set side=32"):
        read_pictures([tmp_path / "a.png", tmp_path / "b.png"], None)
    assert read_pictures([tmp_path / "a.png", tmp_path / "b.png"], 4).shape == (2, 3, 4, 4)
    image.fromarray(values[..., 0]).save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match=r"grey.png: has 1 channels"):
        read_pictures([tmp_path / "a.png", tmp_path / "grey.png"], 4)
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"c.png: is no picture"):
        read_pictures([tmp_path / "c.png"], None)
    np.save(tmp_path / "d.npy", np.zeros((4, 4)))
    with pytest.raises(ValueError, match="it takes numbers \\(channels, rows, columns\\)"):
        read_pictures([tmp_path / "d.npy"], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C(C", "a branch that is not closed"),
        ("CC)", "closes a branch that was not opened"),
        ("C1CC", "a ring that is not closed"),
        ("1CC", "a ring number before any atom"),
        ("CXC", "'X', which is no atom"),
        ("", "has no atom"),
        ("C=", "a bond that leads nowhere"),
        ("C(=)C", "a bond that leads nowhere"),
        ("C=(C)C", "a bond that leads nowhere"),
        ("C=#C", "a bond that leads nowhere"),
        ("C=.C", "a bond that leads nowhere"),
        ("=CC", "a bond before any atom"),
        ("(C)C", "a branch before any atom"),
        ("C11", "closes ring 1 to its own atom"),
        ("C=1CC#1", "closes ring 1 with two kinds of bond"),
        ("C%1CC%1", "'%', which is no atom"),
    ],
)
def test_what_is_no_smiles_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_smiles(text)


def test_molecules_are_graphs_whatever_way_they_are_written() -> None:
    one, other = read_smiles("OC(=O)c1ccccc1"), read_smiles("c1ccc(cc1)C(O)=O")
    assert len(one.bonds) == len(other.bonds) == 9
    for radius in range(4):
        assert sorted(environments(one, radius)) == sorted(environments(other, radius))
    charged = read_smiles("[NH4+].[Cl-]")
    assert charged.atoms == ("N+", "Cl-")
    assert charged.bonds == ()
    assert len(read_smiles("C%12CCC%12").bonds) == 4


def test_rings_have_numbers_however_they_are_written() -> None:
    assert read_smiles("C1CC%01").bonds == read_smiles("C1CC1").bonds
    assert read_smiles("C=1CCC1").bonds == read_smiles("C1CCC=1").bonds


def test_deep_pictures_keep_what_lies_above_255(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    deep = np.array([[0, 1000], [30000, 65535]], np.uint16)
    image.fromarray(deep).save(tmp_path / "deep.png")
    image.fromarray(deep.astype(np.float32) / 65535).save(tmp_path / "share.tif")
    assert np.array_equal(read_pictures([tmp_path / "deep.png"], None)[0, 0], deep)
    assert read_pictures([tmp_path / "deep.png"], 1)[0, 0, 0, 0] > 10000
    assert np.allclose(read_pictures([tmp_path / "share.tif"], None)[0, 0], deep / 65535)


def test_pictures_hold_finite_numbers(tmp_path: Path) -> None:
    with (tmp_path / "A.NPY").open("wb") as file:
        np.save(file, np.full((1, 2, 2), np.nan))
    with pytest.raises(ValueError, match=r"A.NPY: holds values that are not finite"):
        read_pictures([tmp_path / "A.NPY"], None)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'label,text\npos,"good\nneg,bad\npos,fine\n', "line 4: is no table"),
        (b"__label__a a day\n__label__a __label__b good day\n", "line 2: has two labels"),
        (b"\xff\xfea", "marked as UTF-16"),
    ],
)
def test_tables_lose_no_rows_and_no_labels(raw: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        read_table(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_are_read_whatever_wrote_them(encoding: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / "some"
    path.write_bytes(ending.join(["label,text", "b,caf\xe9", "a,no"]).encode(encoding))
    assert read_table(path).rows == [["b", "caf\xe9"], ["a", "no"]]
    path.write_bytes(ending.join(["caf\xe9 B-x", "no O", "", "so O"]).encode(encoding))
    assert [s.words for s in read_conll(path)] == [("caf\xe9", "no"), ("so",)]


def test_words_lose_a_language_only_where_all_have_one(tmp_path: Path) -> None:
    path = tmp_path / "some.conll"
    path.write_text("en:Ada B-x\nen:at O\n")
    assert read_conll(path)[0].words == ("Ada", "at")
    path.write_text("ftp://x B-x\nat O\n")
    assert read_conll(path)[0].words == ("ftp://x", "at")


def test_columns_of_numbers_are_no_texts_with_labels(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("1 2 3\n2 3 4\n")
    with pytest.raises(ValueError, match="name a task"):
        guess_task(path)


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY"])
def test_an_archive_that_is_none_is_named(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"some.npz: is no npz file"):
        guess_task(path)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(ValueError, match=r"some.npz: is no npz file"):
        guess_task(path)


def test_sounds_without_samples_are_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(0))
    with pytest.raises(ValueError, match=r"a.wav: holds no samples"):
        read_wav(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b.wav: .*it ends within its header"):
        read_wav(tmp_path / "b.wav")
