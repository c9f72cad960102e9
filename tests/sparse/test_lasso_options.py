"""The Lasso's options against scikit-learn, and scikit-learn's own checks of estimators."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.reference import lasso as reference
from tokfrag.sparse import GramLasso, GramLassoCV
from tokfrag.sparse._descent import sweep

sklearn = pytest.importorskip("sklearn")

from sklearn import linear_model  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402


def data(n=80, p=12, m=3, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, p)) + generator.standard_normal(p)
    weights = generator.standard_normal((p, m)) * (generator.random((p, m)) < 0.5)
    y = x @ weights + 0.1 * generator.standard_normal((n, m)) + 2
    return x, y, generator.random(n) + 0.1


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.01])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_options_equal_scikit_learns(positive, l1_ratio, weighted, intercept):
    x, y, weights = data()
    weights = weights if weighted else None
    options = {"positive": positive, "fit_intercept": intercept, "l1_ratio": l1_ratio}
    got = GramLasso(0.05, tol=1e-12, max_iter=5000, **options).fit(x, y, sample_weight=weights)
    for response in range(y.shape[1]):
        peer = linear_model.ElasticNet(0.05, tol=1e-12, max_iter=50000, **options)
        peer.fit(x, y[:, response], sample_weight=weights)
        np.testing.assert_allclose(got.coef_[response], peer.coef_, atol=1e-6)
        np.testing.assert_allclose(got.intercept_[response], peer.intercept_, atol=1e-6)
    one = GramLasso(0.05, tol=1e-12, **options).fit(x, y[:, 0], weights)
    expected = peer.fit(x, y[:, 0], weights).score(x, y[:, 0], weights)
    assert one.score(x, y[:, 0], weights) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_array", "lil_matrix"])
@pytest.mark.parametrize("intercept", [False, True])
def test_scipys_matrices_give_what_dense_ones_give(form, intercept):
    sparse = pytest.importorskip("scipy.sparse")
    x, y, weights = data()
    x[np.random.default_rng(1).random(x.shape) < 0.7] = 0
    dense = GramLasso(0.05, fit_intercept=intercept, tol=1e-10).fit(x, y, weights)
    matrix = getattr(sparse, form)(x)
    model = GramLasso(0.05, fit_intercept=intercept, tol=1e-10).fit(matrix, y, weights)
    np.testing.assert_allclose(model.coef_, dense.coef_, atol=1e-9)
    np.testing.assert_allclose(model.intercept_, dense.intercept_, atol=1e-9)
    np.testing.assert_allclose(model.predict(matrix), dense.predict(x), atol=1e-9)


@given(
    st.integers(1, 6),
    st.integers(1, 150),
    st.floats(0, 2),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**31),
)
def test_positive_descent_equals_its_twin(rows, p, alpha, dtype, seed):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((p + 3, p)).astype(dtype)
    gram = np.ascontiguousarray(x.T @ x / dtype(p))
    cross = generator.standard_normal((rows, p)).astype(dtype)
    got = np.abs(generator.standard_normal((rows, p))).astype(dtype)
    expected = got.astype(np.float64)
    moved = sweep(got, gram, cross, alpha=alpha, passes=2, positive=True)
    wide = gram.astype(np.float64), cross.astype(np.float64)
    plain = reference.sweep(expected, *wide, alpha=alpha, passes=2, positive=True)
    limit = 1e-9 if dtype is np.float64 else 2e-2
    np.testing.assert_allclose(got, expected, rtol=limit, atol=limit)
    np.testing.assert_allclose(moved, plain, rtol=limit, atol=limit)
    assert (got >= 0).all()


@pytest.mark.parametrize("l1_ratio", [1.0, 0.7])
def test_the_chosen_penalty_equals_scikit_learns(l1_ratio):
    x, y, _ = data(n=75)
    got = GramLassoCV(n_alphas=30, l1_ratio=l1_ratio, tol=1e-9, max_iter=5000).fit(x, y[:, 0])
    folds = np.array_split(np.arange(75), 5)
    splits = [(np.setdiff1d(np.arange(75), fold), fold) for fold in folds]
    peer = linear_model.ElasticNetCV(
        alphas=got.alphas_, l1_ratio=l1_ratio, cv=splits, tol=1e-9, max_iter=50000
    ).fit(x, y[:, 0])
    np.testing.assert_allclose(got.mse_path_, peer.mse_path_, rtol=1e-4, atol=1e-6)
    assert got.alpha_ == peer.alpha_
    given = GramLassoCV(alphas=got.alphas_, cv=splits, l1_ratio=l1_ratio, tol=1e-9, max_iter=5000)
    assert given.fit(x, y[:, 0]).alpha_ == got.alpha_
    np.testing.assert_allclose(got.coef_, peer.coef_, atol=1e-5)
    most = GramLasso(got.alphas_[0] * 1.0001, l1_ratio=l1_ratio).fit(x, y[:, 0])
    assert not most.coef_.any()
    assert (
        GramLasso(got.alphas_[0] * 0.999, l1_ratio=l1_ratio, tol=1e-10).fit(x, y[:, 0]).coef_.any()
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, y: GramLasso(l1_ratio=1.5).fit(x, y), "l1_ratio: got 1.5"),
        (lambda x, y: GramLasso().fit(x, y, -np.ones(80)), "sample_weight: got"),
        (lambda x, y: GramLasso().fit(x, y, np.ones(3)), r"sample_weight: got shape \(3,\)"),
        (lambda x, y: GramLasso().fit(x, None), "requires y"),
        (lambda x, y: GramLassoCV(cv=1).fit(x, y), "cv: got 1"),
        (lambda x, y: GramLassoCV(alphas=[-1.0]).fit(x, y), "alphas: got"),
        (lambda x, y: GramLassoCV(l1_ratio=0.0).fit(x, y), "alphas: got None with l1_ratio=0"),
    ],
)
def test_bad_options(make, message):
    x, y, _ = data()
    with pytest.raises(ValueError, match=message):
        make(x, y)


# They need pandas, or an array API that has to be switched on.
ELSEWHERE = {
    "check_array_api_input",
    "check_regressor_data_not_an_array",
    "check_sample_weights_pandas_series",
}


def checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that GramLasso inherits nothing of scikit-learn's
        for made in (GramLasso(alpha=0.01), GramLassoCV(n_alphas=5, cv=2)):
            for index, (estimator, check) in enumerate(
                estimator_checks_generator(made, legacy=True)
            ):
                name = getattr(check, "func", check).__name__
                if name not in ELSEWHERE:
                    yield pytest.param(estimator, check, id=f"{type(made).__name__}-{index}-{name}")


@pytest.mark.filterwarnings("ignore")  # of data that leave nothing to fit
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_score_of_one_response_either_way():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 3))
    y = x @ [1.0, -2.0, 0.5]
    for fitted in (y, y[:, None]):
        model = GramLasso(alpha=1e-6).fit(x, fitted)
        assert model.score(x, y) == pytest.approx(1, abs=1e-6)
        assert model.score(x, y[:, None]) == pytest.approx(1, abs=1e-6)
        with pytest.raises(ValueError, match="y: got shape"):
            model.score(x, y[:5])
