"""Engines that run parts: processes of this machine, Ray, Dask."""

from __future__ import annotations

from collections.abc import Callable

from tokfrag.scale.engines.contract import Engine, WorkerLostError
from tokfrag.scale.engines.dask_engine import DaskEngine
from tokfrag.scale.engines.local import LocalEngine
from tokfrag.scale.engines.ray_engine import RayEngine

_ENGINES: dict[str, Callable[[int | None], Engine]] = {
    "local": LocalEngine,
    "ray": RayEngine,
    "dask": DaskEngine,
}


def engine_of(engine: str | Engine, workers: int | None = None) -> Engine:
    """The engine of a name, or one that is there already.

    Parameters
    ----------
    engine : "local", "ray", "dask" or Engine
    workers : int, optional
        Of an engine that is named.

    Returns
    -------
    Engine

    Raises
    ------
    ValueError
        The name is of none, or ``workers`` is given for an engine that has its own.

    Examples
    --------
    >>> type(engine_of("local", 2)).__name__
    'LocalEngine'
    """
    if isinstance(engine, str):
        if engine not in _ENGINES:
            raise ValueError(f"engine: got {engine!r}, takes {', '.join(map(repr, _ENGINES))}")
        return _ENGINES[engine](workers)
    if workers is not None:
        raise ValueError("workers: an engine that is given has its own")
    return engine


__all__ = ["DaskEngine", "Engine", "LocalEngine", "RayEngine", "WorkerLostError", "engine_of"]
