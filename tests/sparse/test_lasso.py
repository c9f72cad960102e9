"""GramLasso against its plain twin, scikit-learn, and the optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.reference import lasso as reference
from tokfrag.sparse import GramLasso
from tokfrag.sparse._descent import sweep


def problem(n, p, m, seed=0, dtype=np.float64, correlation=0.5):
    generator = np.random.default_rng(seed)
    shared = generator.standard_normal((n, 1)) * correlation
    x = (generator.standard_normal((n, p)) + shared).astype(dtype)
    true = generator.standard_normal((p, m)) * (generator.random((p, m)) < 0.3)
    y = (x @ true + 0.5 * generator.standard_normal((n, m)) + 3).astype(dtype)
    return x, y


@settings(max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 150),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.booleans(),
    st.integers(1, 3),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([1, 2, 5]),
    st.integers(0, 2**31),
)
def test_sweep_equals_the_reference(rows, p, alpha, masked, passes, dtype, threads, seed):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((2 * p, p))
    x[:, generator.random(p) < 0.1] = 0  # dead inputs
    gram = (x.T @ x / len(x)).astype(dtype)
    cross = generator.standard_normal((rows, p)).astype(dtype)
    mask = generator.random((rows, p)) < 0.5 if masked else None
    start = generator.standard_normal((rows, p)).astype(dtype)
    got, expected = start.copy(), start.astype(np.float64)
    arguments = {"mask": mask, "alpha": alpha, "passes": passes}
    progress = sweep(got, gram, cross, threads=threads, **arguments)
    wide = reference.sweep(expected, gram.astype(np.float64), cross.astype(np.float64), **arguments)
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(progress, wide, rtol=tolerance * 10, atol=tolerance * 10)
    if mask is not None:
        assert np.array_equal(got[~mask], start[~mask])
    dead = np.diag(gram) <= 0
    assert np.array_equal(got[:, dead], start[:, dead])


def test_threads_give_the_same_bits():
    x, y = problem(300, 200, 100)
    one = GramLasso(0.1, threads=1).fit(x, y)
    two = GramLasso(0.1, threads=2).fit(x, y)
    assert np.array_equal(one.coef_, two.coef_)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n", "p"), [(200, 30), (50, 120), (300, 260)])
def test_objective_equals_sklearn(n, p, intercept):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = problem(n, p, 7)

    def objective(model):
        residual = y - x @ model.coef_.T - model.intercept_
        return (residual**2).sum(0) / (2 * n) + model.alpha * np.abs(model.coef_).sum(1)

    for alpha in (0.01, 0.1, 1.0):
        ours = GramLasso(alpha, fit_intercept=intercept, tol=1e-9, max_iter=30000).fit(x, y)
        theirs = linear_model.Lasso(alpha, fit_intercept=intercept, tol=1e-9, max_iter=100000).fit(
            x, y
        )
        np.testing.assert_allclose(objective(ours), objective(theirs), rtol=1e-6)
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-2)
        assert ours.score(x, y) == pytest.approx(theirs.score(x, y), abs=1e-4)


def test_gap_bounds_the_suboptimality():
    x, y = problem(100, 60, 5)
    fine = GramLasso(0.1, fit_intercept=False, tol=1e-10).fit(x, y)
    coarse = GramLasso(0.1, fit_intercept=False, tol=1e-2).fit(x, y)
    gram, cross = x.T @ x / 100, y.T @ x / 100
    excess = reference.objective(coarse.coef_, gram, cross, 0.1) - reference.objective(
        fine.coef_, gram, cross, 0.1
    )
    assert (excess <= coarse.dual_gap_ + 1e-9).all()
    assert (coarse.dual_gap_ <= 1e-2 * (y**2).sum(0) / 100 + 1e-12).all()


def test_fit_gram_equals_fit():
    x, y = problem(150, 40, 6)
    whole = GramLasso(0.2, fit_intercept=False, tol=1e-8).fit(x, y)
    squares = (y**2).sum(0)
    for options in ({"y_squared": squares}, {}):
        parts = GramLasso(0.2, tol=1e-8).fit_gram(x.T @ x, x.T @ y, n_samples=150, **options)
        np.testing.assert_allclose(parts.coef_, whole.coef_, atol=1e-4)
    means = GramLasso(0.2, tol=1e-8).fit_gram(x.T @ x / 150, x.T @ y[:, 0] / 150)
    np.testing.assert_allclose(means.coef_, whole.coef_[0], atol=1e-4)


def test_alpha_zero_is_least_squares():
    x, y = problem(200, 20, 3)
    model = GramLasso(0.0, tol=1e-16, max_iter=5000).fit(x, y)
    centred = x - x.mean(0)
    expected = np.linalg.lstsq(centred, y - y.mean(0), rcond=None)[0].T
    np.testing.assert_allclose(model.coef_, expected, atol=1e-6)


def test_large_alpha_and_dead_inputs_give_zeros():
    x, y = problem(50, 10, 2)
    assert not GramLasso(1e6).fit(x, y).coef_.any()
    x[:, 3] = 7.0
    assert not GramLasso(0.01).fit(x, y).coef_[:, 3].any()


def test_float32_stays_float32():
    x, y = problem(200, 30, 4, dtype=np.float32)
    model = GramLasso(0.1, tol=1e-5).fit(x, y)
    assert model.coef_.dtype == np.float32
    wide = GramLasso(0.1, tol=1e-8).fit(x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(model.coef_, wide.coef_, atol=1e-2)


def test_one_response_has_the_shapes_of_sklearn():
    x, y = problem(60, 8, 1)
    model = GramLasso(0.1).fit(x, y[:, 0])
    assert model.coef_.shape == (8,)
    assert model.predict(x).shape == (60,)
    assert np.ndim(model.intercept_) == 0


def test_works_inside_sklearn():
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = problem(80, 10, 2)
    model = GramLasso(0.3, tol=1e-6)
    assert clone(model).get_params() == model.get_params()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model), {"gramlasso__alpha": [0.01, 10.0]}, cv=3
    ).fit(x, y)
    assert search.best_params_ == {"gramlasso__alpha": 0.01}


def test_it_says_when_it_did_not_converge():
    x, y = problem(100, 300, 3, correlation=5.0)
    with pytest.warns(RuntimeWarning, match="did not reach tol"):
        GramLasso(1e-4, max_iter=1, tol=1e-12).fit(x, y)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda x, y: GramLasso(-1.0).fit(x, y), ValueError, "alpha: got -1.0"),
        (lambda x, y: GramLasso(float("nan")).fit(x, y), ValueError, "alpha: got nan"),
        (lambda x, y: GramLasso(max_iter=0).fit(x, y), ValueError, "max_iter: got 0"),
        (lambda x, y: GramLasso(threads=0).fit(x, y), ValueError, "threads: got 0"),
        (lambda x, y: GramLasso(tol=-1).fit(x, y), ValueError, "tol: got -1"),
        (lambda x, y: GramLasso().fit(x[0], y), ValueError, "x: got shape"),
        (lambda x, y: GramLasso().fit(x, y[:-1]), ValueError, "y: got shape"),
        (lambda x, y: GramLasso().fit(x * np.nan, y), ValueError, "x: got NaN"),
        (lambda x, y: GramLasso().fit(x, y * np.inf), ValueError, "y: got NaN"),
        (lambda x, y: GramLasso().fit(x.astype(str), y), TypeError, "x: got dtype"),
        (lambda x, y: GramLasso().fit(x[:0], y[:0]), ValueError, "y: got shape"),
        (lambda x, y: GramLasso().predict(x), ValueError, "not fitted"),
        (lambda x, y: GramLasso().fit(x, y).predict(x[:, 1:]), ValueError, "x: got 7 features"),
        (lambda x, y: GramLasso().fit_gram(x, y), ValueError, "gram: got shape"),
        (lambda x, y: GramLasso().fit_gram(x.T @ x, y), ValueError, "cross: got shape"),
        (lambda x, y: GramLasso().fit_gram(np.triu(x.T @ x), x.T @ y), ValueError, "asymmetric"),
        (lambda x, y: GramLasso().set_params(beta=1), ValueError, "beta: not a parameter"),
    ],
)
def test_bad_input_gets_one_clear_error(run, error, message):
    x, y = problem(20, 8, 2)
    with pytest.raises(error, match=message):
        run(x, y)
