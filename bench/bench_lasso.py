"""GramLasso against scikit-learn, which descends response by response on a Gram matrix it shares.

Run with ``OMP_NUM_THREADS=1`` for one thread (the matrix products follow the BLAS library). With
``--benchmark-disable`` problems are small: a smoke.
"""

from __future__ import annotations

import numpy as np
import pytest

from peers import describe, need
from tokfrag.sparse import GramLasso

CASES = [(1024, 256, 0.1), (1024, 256, 0.01), (2048, 128, 0.1)]  # features, responses, share


def problem(p: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated inputs, as a layer sees them, and responses."""
    generator = np.random.default_rng(0)
    n = 2 * p
    x = generator.standard_normal((n, p // 4)) @ generator.standard_normal((p // 4, p))
    x = x / np.sqrt(p // 4) + 0.5 * generator.standard_normal((n, p))
    weights = generator.standard_normal((p, m)) * (generator.random((p, m)) < 0.1)
    return x, x @ weights + generator.standard_normal((n, m))


def objective(model, x, y):
    residual = y - x @ model.coef_.T
    return (residual**2).sum(0) / (2 * len(x)) + model.alpha * np.abs(model.coef_).sum(1)


@pytest.mark.parametrize("peer", ["tokfrag", "tokfrag-float32", "sklearn"])
@pytest.mark.parametrize("case", CASES, ids=str)
def bench_lasso(benchmark, case, peer):
    p, m, share = case if benchmark.enabled else (96, 20, case[2])
    x, y = problem(p, m)
    alpha = share * np.abs(x.T @ y).max() / len(x)
    benchmark.group = f"lasso {p} features {m} responses alpha {share} of the largest"
    reference = GramLasso(alpha, fit_intercept=False, tol=1e-8, max_iter=20000).fit(x, y)
    if peer == "sklearn":
        model = need("sklearn.linear_model").Lasso(
            alpha, fit_intercept=False, precompute=True, tol=1e-5, max_iter=10000
        )
    else:
        model = GramLasso(alpha, fit_intercept=False, tol=1e-5, max_iter=10000)
    data = (x.astype(np.float32), y.astype(np.float32)) if peer.endswith("32") else (x, y)
    model.fit(*data)
    gap = objective(model, x, y).sum() / objective(reference, x, y).sum() - 1
    assert abs(gap) < 1e-4
    describe(benchmark, peer.partition("-")[0])
    benchmark.extra_info["objective_gap"] = f"{gap:.1e}"
    benchmark.pedantic(model.fit, args=data, rounds=2, iterations=1)
