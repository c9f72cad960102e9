"""The hash in a shard index: of the specification, and the hashes of an earlier release."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tokfrag import Tokenizer, TokenShards
from tokfrag.tokens.shards.fingerprint import earlier_fingerprints, fingerprint
from tokfrag.tokens.shards.writing import encode_files
from tokfrag.tokens.specification import (
    AddedToken,
    BpeModel,
    Pipeline,
    Profile,
    Specification,
    Template,
    WordPieceModel,
)

BYTES = [bytes([byte]) for byte in range(256)]


def plain() -> Tokenizer:
    return Tokenizer([*BYTES, b"ab"], pattern="gpt2", special_tokens={"<end>": 300})


def trained() -> Tokenizer:
    return Tokenizer.train(["low lower lowest"] * 9, 260, pattern="gpt2")


def prepared() -> Tokenizer:
    model = BpeModel(
        tuple((token, id) for id, token in enumerate([*BYTES, b"ab"])),
        np.array([[97, 98]], np.int64),
        "gpt2",
        False,
    )
    pipeline = Pipeline(
        (AddedToken("<end>", 300), AddedToken("<tool>", 301, special=False)),
        ("NFC",),
        template=Template(((300, 0), ("A", 0))),
    )
    return Tokenizer.from_specification(Specification(model, pipeline))


def wordpiece() -> Tokenizer:
    words = ("[UNK]", "[CLS]", "[SEP]", "low", "##er")
    return Tokenizer.from_specification(
        Specification(
            WordPieceModel(tuple((word, id) for id, word in enumerate(words))),
            Pipeline(
                tuple(AddedToken(word, id) for id, word in enumerate(words[:3])),
                template=Template(
                    ((1, 0), ("A", 0), (2, 0)),
                    ((1, 0), ("A", 0), (2, 0), ("B", 1), (2, 1)),
                ),
            ),
        )
    )


# As the release before the specification was hashed gave them.
EARLIER = {
    plain: "7632e6f7c1bb5ec42816bc37fba31056bbd0ff6498449fbf2ba038e854d89ee4",
    trained: "4717fdc08807a092992985b07ec3aebfe2584f862d04a99ccf3a447f98ef5b6c",
    prepared: "a69c2377c32f29f02bb1a739ec1abbe3e6519414618acdd2dee6c37c71a69b80",
    wordpiece: "6a6cad61c508c40275c09c3b7f0b7f9bd143941dc16d660fdab55b7d60b7bb61",
}


@pytest.mark.parametrize("make", EARLIER)
def test_the_earlier_hash_is_known(make) -> None:  # type: ignore[no-untyped-def]
    assert EARLIER[make] in earlier_fingerprints(make().text_pipeline)


def test_it_is_of_what_ids_depend_on() -> None:
    hashes = {fingerprint(make().text_pipeline) for make in EARLIER}
    assert len(hashes) == len(EARLIER)
    assert all(text.startswith("2:") for text in hashes)
    for make in EARLIER:
        assert fingerprint(make().text_pipeline) in hashes
    was = prepared()
    specification = was.specification
    pipeline = specification.pipeline
    same = replace(pipeline, template=Template(), profile=Profile(name="x"))
    for changed, equal in (
        (same, True),
        (replace(pipeline, normalizers=()), False),
        (replace(pipeline, prefix_space=True), False),
        (replace(pipeline, added_tokens=pipeline.added_tokens[:1]), False),
    ):
        other = Tokenizer.from_specification(replace(specification, pipeline=changed))
        found = fingerprint(other.text_pipeline)
        assert (found == fingerprint(was.text_pipeline)) == equal


@pytest.mark.parametrize("make", EARLIER)
def test_a_folder_of_an_earlier_release_is_resumed(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("low lower " * 9 + name)
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    out = encode_files(make(), paths, tmp_path / "ids", shard_bytes=1)
    wanted = TokenShards(out)[:]
    index = json.loads((out / "index.json").read_text())
    del index["seal"]  # which releases of that time did not write
    index["tokenizer"] = EARLIER[make]
    index["shards"][1].update(tokens=-1, documents=-1, sha256="")
    (out / "index.json").write_text(json.dumps(index))
    (out / "00001.bin").unlink()
    kept = (out / "00000.bin").stat().st_mtime_ns
    encode_files(make(), paths, out, shard_bytes=1)
    assert np.array_equal(TokenShards(out)[:], wanted)
    assert (out / "00000.bin").stat().st_mtime_ns == kept
    index["tokenizer"] = "0" * 64
    (out / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="holds shards with tokenizer '000"):
        encode_files(make(), paths, out, shard_bytes=1)
