"""Features of windows as a scikit-learn transformer; scikit-learn itself is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.series import SERIES_FEATURES


class FragmentFeatures:
    """Series to rows of features of their windows: a step of a ``sklearn.pipeline.Pipeline``.

    Parameters
    ----------
    size, stride : int
        Of the windows; `stride` is `size` unless given. As many as fit: ``edge="shift"``.
    features : sequence of str
        As :func:`tokfrag.fragment_features` takes them.

    A dataframe of any kind that narwhals knows (the extra ``dataframes``) may stand for
    (samples, length): a row a series, a column a time. `transform` then gives one of its kind, with
    a column a feature.

    Examples
    --------
    >>> rows = FragmentFeatures(size=4, features=["maximum", "abs_energy"])
    >>> rows.fit_transform([[1, 2, 3, 4, 0, 0, 2, 0]]).tolist()
    [[4.0, 30.0, 2.0, 4.0]]
    >>> rows.get_feature_names_out()[:2].tolist()
    ['channel0__window0__maximum', 'channel0__window0__abs_energy']
    """

    def __init__(
        self, size: int, stride: int | None = None, *, features: Sequence[str] = SERIES_FEATURES
    ) -> None:
        self.size, self.stride, self.features = size, stride, features

    def fit(self, X: Any, y: Any = None) -> FragmentFeatures:
        """Take over the shape of the series.

        Parameters
        ----------
        X : (samples, length) or (samples, channels, length) array or tensor
        y : optional
            Not looked at.

        Returns
        -------
        FragmentFeatures
            This one.
        """
        shape = self._array(X).shape
        self.n_features_in_ = int(np.prod(shape[1:]))
        self.channels_ = shape[1]
        self.grid_ = FragmentGrid(shape[2:], self.size, self.stride, edge="shift")
        return self

    def transform(self, X: Any) -> Any:
        """The features of the windows of each series, one row a sample.

        Parameters
        ----------
        X : (samples, length) or (samples, channels, length) array or tensor
            Of the channels and length that `fit` has seen.

        Returns
        -------
        (samples, channels * windows * features) array, or dataframe

        Raises
        ------
        ValueError
            It is not fitted, or the series have another shape.
        """
        if not hasattr(self, "grid_"):
            raise ValueError("transform: got an unfitted transformer, call fit first")
        array = self._array(X)
        if array.shape[1:] != (self.channels_, *self.grid_.shape):
            raise ValueError(
                f"X has {array[:1].size} features, but FragmentFeatures is expecting "
                f"{self.n_features_in_} features as input: got series of shape "
                f"{array.shape[1:]}, takes {(self.channels_, *self.grid_.shape)}"
            )
        table = fragment_features(array, self.grid_, self.features)
        rows: NDArray[Any] = table.swapaxes(1, 2).reshape(len(array), -1)
        return rows if not _is_frame(X) else self._frame(rows, X)

    def _frame(self, rows: NDArray[Any], like: Any) -> Any:
        """A dataframe of the kind of `like`, and with its index if it has one."""
        nw = _narwhals()
        given = nw.from_native(like, eager_only=True)
        columns = dict(zip(self.get_feature_names_out().tolist(), rows.T, strict=True))
        made = nw.from_dict(columns, backend=given.implementation).to_native()
        index = nw.maybe_get_index(given)
        if index is not None:
            made.index = index
        return made

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """`fit`, then `transform`.

        Parameters
        ----------
        X : (samples, length) or (samples, channels, length) array or tensor
        y : optional
            Not looked at.

        Returns
        -------
        (samples, channels * windows * features) array, or dataframe
        """
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """A name a column: channel, window, feature.

        Parameters
        ----------
        input_features : optional
            Not looked at.

        Returns
        -------
        (channels * windows * features,) array of str, dtype object
        """
        return np.array(
            [
                f"channel{channel}__window{window}__{name}"
                for channel in range(self.channels_)
                for window in range(self.grid_.n)
                for name in self.features
            ],
            dtype=object,
        )

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor, as scikit-learn asks for them.

        Parameters
        ----------
        deep : bool
            Makes no difference: no argument has parameters of its own.

        Returns
        -------
        dict
        """
        return {"size": self.size, "stride": self.stride, "features": self.features}

    def set_params(self, **params: Any) -> FragmentFeatures:
        """Set arguments of the constructor, as scikit-learn does.

        Returns
        -------
        FragmentFeatures
            This one.

        Raises
        ------
        ValueError
            A name is no argument.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(f"{name}: not a parameter; takes {sorted(self.get_params())}")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(three_d_array=True, allow_nan=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "grid_")

    def __repr__(self) -> str:
        parameters = ", ".join(f"{k}={v!r}" for k, v in self.get_params().items())
        return f"FragmentFeatures({parameters})"

    @staticmethod
    def _array(X: Any) -> NDArray[Any]:
        if _is_frame(X):
            try:
                X = _narwhals().from_native(X, eager_only=True).to_numpy()
            except (AttributeError, TypeError) as error:  # a lazy one, say
                raise TypeError(f"X: got {type(X).__name__}: {error}") from None
        X = _arrays.from_protocols(X)
        _arrays.check_plain(X, "X")
        if hasattr(X, "tocoo"):
            raise TypeError(
                f"X: got {type(X).__name__}, takes dense arrays: sparse is not supported"
            )
        if _arrays.dtype_name(getattr(X, "dtype", "")) == "bfloat16":
            X = X.float()  # NumPy has no such type
        array: Any = X.numpy(force=True) if _arrays.is_tensor(X) else np.asarray(X)
        if array.ndim not in (2, 3):
            raise ValueError(
                f"X: got shape {array.shape}, takes (samples, length) or (samples, channels, "
                "length). Reshape your data: X[None] is one series"
            )
        for what, count in (("sample", len(array)), ("feature", array[:1].size)):
            if not array.shape[0 if what == "sample" else -1]:
                raise ValueError(
                    f"X: got {count} {what}(s) (shape={array.shape}) while a minimum of 1 is "
                    "required."
                )
        made: NDArray[Any] = _real(array)
        return made[:, None] if made.ndim == 2 else made


def _real(array: NDArray[Any]) -> NDArray[Any]:
    """As real numbers: objects that are some, as frames of several types hold, become floats."""
    if array.dtype.kind == "c":
        raise ValueError(f"X: got {array.dtype}. Complex data not supported, takes real numbers")
    if array.dtype.kind not in "OUS":
        return array
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X: {error}, takes numbers") from None


def _is_frame(X: Any) -> bool:
    """A dataframe, as far as its looks go: arrays and tensors have no columns."""
    return hasattr(type(X), "columns") and not isinstance(X, np.ndarray)


def _narwhals() -> Any:
    try:
        import narwhals
    except ImportError:
        raise ImportError(
            "X: got a dataframe, which takes narwhals: pip install tokfrag[dataframes]"
        ) from None
    return narwhals
