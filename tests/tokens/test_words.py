"""Which word each token is in, for models whose blanks are metaspaces: as tokenizers has it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from family_cases import FAMILIES, TEXTS, random_texts
from tokfrag import Tokenizer
from tokfrag.tokens.models.metaspace import MetaspaceModel
from tokfrag.tokens.models.text_steps import Metaspace, ReplacePattern
from tokfrag.tokens.models.unigram import UnigramModel, UnigramValues
from tokfrag.tokens.pipeline import TextPipeline
from tokfrag.tokens.specification import Pipeline
from tokfrag.tokens.words import word_indices

METASPACED = (
    *("Llama-2", "Llama-2 of transformers 5", "Gemma", "Gemma 3", "SigLIP2", "NLLB", "Reformer"),
    *("T5", "XLM-R", "ALBERT", "DeBERTa-v3", "MarkupLM, first"),
)


@pytest.mark.parametrize("family", METASPACED)
def test_words_are_those_of_tokenizers(family: str) -> None:
    theirs = FAMILIES[family]()
    way = Tokenizer.adopt(theirs).text_pipeline
    assert isinstance(way.model, MetaspaceModel)
    sought = way.sought("all")
    for text in [*TEXTS, *random_texts(60)]:
        want = theirs.encode(text, add_special_tokens=False)
        assert word_indices(way, text, sought).tolist() == want.word_ids, text


def test_words_behind_a_pattern_of_ones_own() -> None:
    tokens = tuple(zip(("<unk>", "\u2581", "a", "b", "\u2581a"), range(5), strict=True))
    steps = (ReplacePattern("[xy]+", " "), Metaspace())
    model = UnigramModel.make(UnigramValues(tokens, (0, -1, -1, -1, -1.5), 0, text=steps), ())
    way = TextPipeline(model, Pipeline())
    assert word_indices(way, "abxyab", way.sought(())).tolist() == [0, 0, 1, 1]
    assert word_indices(way, "", way.sought(())).dtype == np.int64
