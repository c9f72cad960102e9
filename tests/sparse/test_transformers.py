"""Language models of transformers: pruned, saved, loaded, generating as before."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tokfrag.sparse import SparseLinear, sparsify  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of a package that warns at every turn

SMALL = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0, "vocab_size": 50}
CONFIGURATIONS = {
    "gpt2": lambda: transformers.GPT2Config(
        n_positions=32, n_embd=32, n_layer=2, n_head=2, tie_word_embeddings=False, **SMALL
    ),
    "gpt2 tied": lambda: transformers.GPT2Config(
        n_positions=32, n_embd=32, n_layer=2, n_head=2, **SMALL
    ),
    "llama": lambda: transformers.LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        **SMALL,
    ),
}


@pytest.fixture(params=CONFIGURATIONS)
def case(request, monkeypatch):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", "")
    torch.manual_seed(0)
    config = CONFIGURATIONS[request.param]()
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    skip = ["lm_head"] if config.tie_word_embeddings else []
    ids = torch.randint(2, 50, (4, 16))
    return model, ids, skip


def generated(model, ids):
    return model.generate(ids[:1, :4], max_new_tokens=8, do_sample=False).tolist()


def test_pruned_models_are_saved_and_come_back(case, tmp_path):
    model, ids, skip = case
    report = sparsify(model, [{"input_ids": ids}], sparsity=0.5, skip=skip)
    assert all("embed" in path or "w" in path or path in skip for path in report.left_dense)
    before = generated(model, ids)
    model.save_pretrained(tmp_path)
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert generated(back, ids) == before
    for name, mask in report.masks.items():
        assert not back.get_parameter(name)[~mask].any()


def test_sparse_models_generate_and_their_checkpoints_load(case, tmp_path):
    model, ids, skip = case
    batch = [{"input_ids": ids}]
    twin, other = copy.deepcopy(model), copy.deepcopy(model)
    sparsify(model, batch, sparsity=0.5, skip=skip, replace=True)
    sparsify(twin, batch, sparsity=0.5, skip=skip)
    assert any(isinstance(m, SparseLinear) for m in model.modules())
    assert generated(model, ids) == generated(twin, ids)
    model.save_pretrained(tmp_path)
    sparsify(other, batch, sparsity=0.9, skip=skip, replace=True, method="magnitude")
    load = pytest.importorskip("safetensors.torch").load_file
    missing = other.load_state_dict(load(tmp_path / "model.safetensors"), strict=False)
    assert set(missing.missing_keys) <= {f"{name}.weight" for name in skip}
    assert not missing.unexpected_keys
    assert generated(other, ids) == generated(model, ids)


def test_a_tied_weight_is_counted_once(case):
    model, ids, skip = case
    report = sparsify(model, [{"input_ids": ids}], sparsity=0.5, skip=skip)
    weights = {id(p): p for p in model.parameters() if p.ndim > 1}.values()
    assert sum(row.weights for row in report.modules) == sum(p.numel() for p in weights)
