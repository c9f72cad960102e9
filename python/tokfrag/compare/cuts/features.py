"""Frozen features of a user's network as a cut: its vectors are the pieces of a sample."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Cut, FittedCut, Pieces, PieceSpec, Samples, check_merge
from tokfrag.compare.extras import require

if TYPE_CHECKING:
    from tokfrag.compare.encoder import Encoder

_PREFIX = "features:"
_EXPORTED, _SCRIPTED = (".pt2",), (".pt", ".ts", ".torchscript")
_TAKES = (
    "features:FILE.py:NAME (a network, a function of a batch, or what makes one), "
    "features:FILE.pt2 (torch.export) or features:FILE.pt (TorchScript)"
)


def is_features(text: str) -> bool:
    """Whether a short name stands for frozen features."""
    return text.startswith(_PREFIX)


class FrozenFeatures:
    """What a network that is not trained answers to each sample: one vector, or several.

    It is asked once a sample, without gradients; a small network is then trained on its answers, so
    a row tells what they are worth. They are scaled to a mean of 0 and a spread of 1, by the part
    to learn from.

    Parameters
    ----------
    network
        A module or a function. Takes a batch, ``(batch, channels, *space_time)`` float32 tensors or
        a list of str, and gives ``(batch, width)`` or ``(batch, n, width)``. A text that has fewer
        vectors than others is filled up with rows of zeros.
    name
        Of the row; after the network where left out.
    over
        A cut whose pieces the network is shown in place of the sample: ``(batch, n, *shape)``, ids
        as int64, texts of one length at a time, so that it never sees what only fills rows up.
    merge
        How the trained network joins the vectors.

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import FrozenFeatures, Samples
    >>> x = np.random.default_rng(0).normal(size=(6, 1, 8, 8))
    >>> cut = FrozenFeatures(lambda x: x.mean(dim=(2, 3)), name="brightness")
    >>> cut.fit(Samples(x)).cut(x).values.shape
    (6, 1, 1)
    """

    def __init__(
        self,
        network: Any,
        *,
        name: str | None = None,
        over: Cut | None = None,
        merge: str = "attention",
    ):
        if not callable(network):
            raise TypeError(
                f"features: got {type(network).__name__}; it takes a module or a function of a "
                "batch"
            )
        own = getattr(network, "__name__", type(network).__name__).strip("<>")
        self._name = f"{_PREFIX}{own}" if name is None else name
        self._make: Callable[[], Any] = lambda: network
        self._over = over
        self._merge = check_merge(merge)
        self._encoder: Encoder | None = None
        self._place: Any = None

    @classmethod
    def read(cls, text: str) -> FrozenFeatures:
        """From a short name: ``features:FILE.py:NAME``, ``features:FILE.pt2``, ``...@merge``.

        The file is run, or read, when the cut first sees data.

        Parameters
        ----------
        text
            The short name.

        Returns
        -------
        FrozenFeatures
            The cut.

        Raises
        ------
        ValueError
            Where it names no such file; the message says what it takes.
        """
        inner, at, merge = text.removeprefix(_PREFIX).partition("@")
        file, _, name = inner.rpartition(":") if ".py:" in inner else (inner, "", "")
        path = Path(file)
        if path.suffix not in (".py", *_EXPORTED, *_SCRIPTED) or (path.suffix == ".py") != bool(
            name
        ):
            raise ValueError(f"cut {text}: takes {_TAKES}")
        if not path.is_file():
            raise FileNotFoundError(f"cut {text}: no such file: {path}")
        cut = cls(len, name=text, merge=merge if at else "attention")
        cut._make = lambda: load_network(path, name)
        return cut

    @property
    def name(self) -> str:
        """What its row is called."""
        return self._name

    @property
    def family(self) -> str:
        """Always ``"fragments"``."""
        return "fragments"

    @property
    def encoder(self) -> Encoder:
        """The network with its answers so far; made when it is first asked for."""
        require("torch", purpose="frozen features")
        from tokfrag.compare.encoder import Encoder

        if self._encoder is None:
            self._encoder = Encoder(self._make(), self._name)
            if self._place is not None:
                self._encoder.run_on(self._place)
        return self._encoder

    def run_on(self, device: Any) -> None:
        """Run the network there from now on; a module of yours is moved, and stays there.

        Parameters
        ----------
        device : torch.device
            Such as a GPU. A function of a batch is shown tensors of the CPU all the same.
        """
        self._place = device
        if self._encoder is not None:
            self._encoder.run_on(device)

    def over(self, cut: Cut) -> FrozenFeatures:
        """The same network, shown the pieces of a cut, under that cut's name.

        Parameters
        ----------
        cut
            What makes the pieces.

        Returns
        -------
        FrozenFeatures
            A cut that shares the answers of this one.
        """
        found = FrozenFeatures(self.encoder.network, name=cut.name, over=cut, merge=self._merge)
        found._encoder = self._encoder
        return found

    def fit(self, train: Samples) -> FittedCut:
        """Probe the network, ask it about the part to learn from, and find the scale.

        Parameters
        ----------
        train
            The part to learn from.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.

        Raises
        ------
        ValueError
            Where the network fails, is not the same each time, or mixes the items of a batch.
        MemoryError
            Where its answers will not fit.
        """
        inner = None if self._over is None else self._over.fit(train)
        encoder = self.encoder
        first = train.x[: min(4, len(train.x))]
        shown = _shown(first) if inner is None else _real(inner.cut(first))[0][1]
        encoder.check(shown)
        flops = encoder.flops(shown)
        found, held = self._vectors(train.x, inner)
        real = found[held]
        mean = real.mean(0, dtype=np.float64).astype(np.float32)
        spread = real.std(0, dtype=np.float64).astype(np.float32)
        scale = 1 / np.where(spread > 1e-12, spread, 1)
        room = max(found.shape[1], 0 if inner is None or found.shape[1] == 1 else inner.spec.n)
        padded = not held.all() or (inner is not None and inner.spec.padded)

        def cut(samples: Any) -> Pieces:
            vectors, real = self._vectors(samples, inner)
            if vectors.shape[1] > room:
                raise ValueError(
                    f"{self._name}: got {vectors.shape[1]} vectors for a sample, {room} in those "
                    "to learn from; all must have as many (rows of zeros fill up)"
                )
            values = (vectors - mean) * scale
            values[~real] = 0
            return Pieces(values, real.sum(1).astype(np.int64))

        spec = PieceSpec(room, found.shape[2:], None, self._merge, padded=padded)
        count = "" if room == 1 else f"{room} "
        return FittedCut(
            spec,
            cut,
            notes=(
                f"{count}frozen vectors of {found.shape[2]}; {flops / 1e6:.3g} MFLOP a sample, "
                "paid once and in no budget; what the network has seen before is not known here",
            ),
        )

    def _vectors(
        self, samples: Any, inner: FittedCut | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Vectors of all samples, filled up with zeros, and which of them are real."""
        if inner is None:
            found = self.encoder(_shown(samples))
            if isinstance(samples, np.ndarray):
                return found, np.ones(found.shape[:2], bool)
            held: NDArray[np.bool_] = np.any(found != 0, axis=2)
            # A sample with no vectors still needs one to look at.
            held[:, 0] |= ~held.any(1)
            return found, held
        groups = [(places, self.encoder(held)) for places, held in _real(inner.cut(samples))]
        most = max(vectors.shape[1] for _, vectors in groups)
        found = np.zeros((len(samples), most, groups[0][1].shape[2]), np.float32)
        held = np.zeros((len(samples), most), bool)
        for places, vectors in groups:
            found[places, : vectors.shape[1]] = vectors
            held[places, : vectors.shape[1]] = True
        return found, held


def _shown(samples: Any) -> Any:
    """Samples as the network takes them: values as float32."""
    return np.asarray(samples, np.float32) if isinstance(samples, np.ndarray) else samples


def _real(pieces: Pieces) -> list[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Pieces of samples of one length at a time: which samples, and their real pieces."""
    lengths = np.maximum(pieces.lengths, 1)
    return [
        (places, pieces.values[places, :length])
        for length in np.unique(lengths).tolist()
        for places in (np.flatnonzero(lengths == length),)
    ]


def load_network(path: Path, name: str = "") -> Any:
    """A network from a file: of Python, of ``torch.export``, of TorchScript.

    Parameters
    ----------
    path
        The file. Python is run.
    name
        In a file of Python: a network, a function of a batch, or a function or class that makes one
        of them without being given anything.

    Returns
    -------
    callable
        Takes a batch.

    Raises
    ------
    ValueError
        Where the file cannot be read, or holds nothing of that name that can be called.
    """
    require("torch", purpose="frozen features")
    import torch

    try:
        if path.suffix in _EXPORTED:
            return _Exported(torch.export.load(str(path)))
        if path.suffix in _SCRIPTED:
            return torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        found = _from_python(path, name)
    except Exception as error:
        raise ValueError(f"features: {path}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"features: {path}: {name} is a {type(found).__name__}, not a network")
    return found


class _Exported:
    """A network of ``torch.export``, which has no modes of training to be put into."""

    def __init__(self, program: Any):
        self._program = program
        self._module = program.module()

    def __call__(self, batch: Any) -> Any:
        return self._module(batch)

    def to(self, device: Any) -> None:
        """Devices are written into its graph, not only into its weights."""
        from torch.export.passes import move_to_device_pass

        self._module = move_to_device_pass(self._program, str(device)).module()


def _from_python(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"tokfrag_features_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        held = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
        raise ValueError(f"holds no {name}; it holds {', '.join(held) or 'nothing to call'}")
    found = getattr(module, name)
    if hasattr(found, "state_dict") and not inspect.isclass(found):
        return found
    return found() if callable(found) and not _needed(found) else found


def _needed(function: Callable[..., Any]) -> Sequence[str]:
    """What a function must be given."""
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
