"""What a forked child finds: workers that were lent, a lease that crosses the fork, two threads."""

from __future__ import annotations

from support import run_python


def test_threads_of_a_child_share_the_workers() -> None:
    """Several threads are the first to ask the pool after the fork, while it is put in order."""
    done = run_python(
        """
        import os, threading, warnings
        from tokfrag import Tokenizer
        warnings.simplefilter("ignore")
        tok = Tokenizer.train(["hello world it's a day"] * 3, vocab_size=300)
        text = "hello world it's a day " * 40
        wanted = tok.encode(text).tolist()
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                tok.encode(text)

        parents = [threading.Thread(target=busy) for _ in range(3)]
        for thread in parents:
            thread.start()
        codes = set()
        for _ in range(40):
            child = os.fork()
            if child == 0:
                right, start = [], threading.Barrier(4)

                def check():
                    start.wait()
                    right.append(all(tok.encode(text).tolist() == wanted for _ in range(30)))

                threads = [threading.Thread(target=check) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                os._exit(0 if right == [True] * 4 else 1)
            codes.add(os.waitpid(child, 0)[1])
        stop.set()
        for thread in parents:
            thread.join()
        print(codes)
        """
    )
    assert (done.stdout.strip(), done.returncode) == ("{0}", 0), done.stderr


def test_a_signal_handler_that_forks_inside_a_call() -> None:
    """The child goes on with a worker that its pool has dropped, and gives it back to nobody."""
    done = run_python(
        """
        import os, signal
        from tokfrag import Tokenizer
        tok = Tokenizer.train(["hello world"], vocab_size=257)
        text = "hello world " * 30_000
        wanted = tok.encode(text).tolist()
        children = []

        def fork(*_):
            child = os.fork()
            if child:
                children.append(child)
            elif tok.encode(text).tolist() != wanted:
                os._exit(1)

        parent = os.getpid()
        signal.signal(signal.SIGALRM, fork)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        while not children and os.getpid() == parent:
            right = tok.encode(text, allowed_special="all").tolist() == wanted
        right = right and tok.encode(text).tolist() == wanted
        if os.getpid() != parent:
            os._exit(0 if right else 2)
        print(right, os.waitpid(children[0], 0)[1])
        """
    )
    assert (done.stdout.strip(), done.returncode) == ("True 0", 0), done.stderr
