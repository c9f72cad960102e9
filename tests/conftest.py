"""What every test shares: the data folder, and how hypothesis runs.

Tests on vocabularies and corpora ask for ``data``. It is a folder made in the run from what every
Python has (``made_data.py``), or the one that ``TOKFRAG_DATA`` names, laid out in the same way:
``english.txt``, ``code.txt``, ``chinese.txt``, ``chinese_pure.txt``, ``multilingual.txt``,
``emoji.txt``, ``tinyshakespeare.txt``, ``nfc_cases.tsv``; and ``vocab/`` with
``r50k_base.tiktoken``, ``cl100k_base.tiktoken.gz``, ``o200k_base.tiktoken.gz``,
``gpt2_vocab.bpe``, ``gpt2_encoder.json``, ``gpt2_tokenizer.json.gz``,
``llama3_tokenizer.model.gz``, ``bert-base-uncased-vocab.txt``. ``--data-only`` runs these tests
alone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

import made_data
from support import compile_emulated_cuda, load_emulated_cuda, made_once

# Measurements of tests stay out of the user's cache.
os.environ["TOKFRAG_CACHE_DIR"] = tempfile.mkdtemp(prefix="tokfrag-tests-")
atexit.register(shutil.rmtree, os.environ["TOKFRAG_CACHE_DIR"], ignore_errors=True)

# Workers of pytest-xdist share the processors; torch in each would take them all.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


# Tests on engines that the test extra does not bring are there where those are.
_ENGINES = {
    "ray": "ray",
    "tables": "datasets",
    "dask": "distributed",
    "datatrove": "datatrove",
    "spark": "pyspark",
    "volumes": "zarr",  # whose third version wants Python 3.11
}
_ABSENT = [name for name, module in _ENGINES.items() if find_spec(module) is None]
collect_ignore = [f"scale/test_{name}.py" for name in _ABSENT]


def pytest_report_header() -> str:
    there = ", ".join(_ENGINES.keys() - set(_ABSENT)) or "none"
    return f"engines: {there}; not installed, so that their tests are not collected: {_ABSENT}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--data-only", action="store_true", help="only the tests that use `data`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--data-only"):
        chosen = [item for item in items if "data" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder of this run that the workers of pytest-xdist have in common."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of vocabularies and corpora; child processes find it in ``TOKFRAG_DATA``."""
    named = os.environ.get("TOKFRAG_DATA")
    if named:
        yield Path(named)
        return
    pytest.importorskip("tokenizers", reason="trains the vocabularies of the run")
    with pytest.MonkeyPatch.context() as patch:
        folder = made_once(shared_folder(tmp_path_factory, "data"), made_data.make)
        patch.setenv("TOKFRAG_DATA", str(folder))
        yield folder


@pytest.fixture(scope="session")
def emulated_cuda(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """``tokfrag._cuda``, its kernels emulated on the host."""
    folder = made_once(shared_folder(tmp_path_factory, "emulated"), compile_emulated_cuda)
    return load_emulated_cuda(folder)
