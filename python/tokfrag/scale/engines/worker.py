"""A worker process of :class:`~tokfrag.scale.engines.local.LocalEngine`: takes work, then parts."""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from types import FrameType


def serve(handle: int) -> None:
    """Do the work that comes first for every part that comes after it, until the socket closes."""
    # Ctrl-C reaches every process of a terminal; the one that began the work decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    with Connection(handle) as connection:
        try:
            packed, work = connection.recv_bytes(), None
            while True:
                part = connection.recv_bytes()
                # Work, parts and results of kinds that cannot be pickled are errors of the caller:
                # a worker that died of them would be replaced, and die again.
                try:
                    work = pickle.loads(packed) if work is None else work
                    answer = pickle.dumps(("done", work(pickle.loads(part))))
                except Exception as error:
                    told = ("error", (_portable(error), traceback.format_exc()))
                    answer = pickle.dumps(told)
                connection.send_bytes(answer)
        except (EOFError, ConnectionError):
            return  # whoever gave the work has enough, or is gone


def _leave(number: int, frame: FrameType | None) -> None:
    # An exception, so that files half written are removed.
    sys.exit(128 + number)


def _portable(error: Exception) -> Exception:
    """The error if it can be pickled and read again, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    serve(int(sys.argv[1]))
