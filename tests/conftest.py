"""What every test shares: the data folder, and how hypothesis runs.

``TOKFRAG_DATA`` names a folder with ``english.txt``, ``code.txt``, ``chinese.txt``,
``chinese_pure.txt``, ``multilingual.txt``, ``emoji.txt``, ``tinyshakespeare.txt``,
``nfc_cases.tsv``; ``vocab/`` with ``r50k_base.tiktoken``, ``p50k_base.tiktoken``,
``cl100k_base.tiktoken.gz``, ``o200k_base.tiktoken.gz``, ``gpt2_vocab.bpe``, ``gpt2_encoder.json``,
``gpt2_tokenizer.json.gz``, ``llama3_tokenizer.model.gz``, ``bert-base-uncased-vocab.txt``; and
``eval/`` with the evaluation sets. Tests that need it skip, and say so, where it is unset.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from support import compile_emulated_cuda

# Measurements of tests stay out of the user's cache.
os.environ["TOKFRAG_CACHE_DIR"] = tempfile.mkdtemp(prefix="tokfrag-tests-")
atexit.register(shutil.rmtree, os.environ["TOKFRAG_CACHE_DIR"], ignore_errors=True)

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real vocabularies and corpora."""
    folder = os.environ.get("TOKFRAG_DATA")
    if not folder:
        pytest.skip("TOKFRAG_DATA is not set: see tests/conftest.py for the layout it names")
    return Path(folder)


@pytest.fixture(scope="session")
def emulated_cuda(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """``tokfrag._cuda``, its kernels emulated on the host."""
    return compile_emulated_cuda(tmp_path_factory.mktemp("emulated"))
