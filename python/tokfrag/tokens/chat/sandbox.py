"""Run chat templates as ``transformers`` runs them: jinja2, in a sandbox they cannot leave.

Templates come with models and are nobody's code. They see plain values and a few functions; names
that begin with an underscore are closed to them, and what they are given cannot be changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

_OLDEST = (3, 1, 6)


class Tracked(NamedTuple):
    """What a template has written so far, and which characters were generated."""

    parts: list[str]
    generated: list[tuple[int, int]]


_TRACKED: ContextVar[Tracked | None] = ContextVar("tracked", default=None)


def render(template: str, variables: Mapping[str, Any]) -> tuple[str, list[tuple[int, int]]]:
    """Write a text by a template.

    Parameters
    ----------
    template
        Of jinja2, blocks trimmed; ``{% generation %}`` marks what an assistant writes.
    variables
        Plain values (:func:`tokfrag.tokens.chat.messages.plain`).

    Returns
    -------
    text : str
    generated : list of (begin, end)
        The characters that ``{% generation %}`` blocks have written.

    Raises
    ------
    ValueError
        The template is malformed or fails; says in which line.
    ImportError
        jinja2 is not there, or too old to keep templates in.

    Examples
    --------
    >>> render("{% for m in messages %}{{ m }};{% endfor %}", {"messages": ["a", "b"]})
    ('a;b;', [])
    """
    compiled = _compiled(template)
    tracked = Tracked([], [])
    token = _TRACKED.set(tracked)
    try:
        for part in compiled.generate(variables):
            tracked.parts.append(part)
    except Exception as error:  # whatever the template does wrong
        raise _refusal(template, _line_of(error.__traceback__), error) from error
    finally:
        _TRACKED.reset(token)
    return "".join(tracked.parts), tracked.generated


@contextmanager
def _with_jinja() -> Iterator[None]:
    try:
        import jinja2
    except ImportError:
        raise ImportError(
            "apply_chat_template: takes jinja2 (pip install 'tokfrag[chat]')"
        ) from None
    numbers = tuple(int(part) for part in jinja2.__version__.split(".")[:3] if part.isdigit())
    if numbers < _OLDEST:
        raise ImportError(
            f"apply_chat_template: got jinja2 {jinja2.__version__}, takes 3.1.6 or later: templates"
            " can leave the sandbox of earlier ones"
        )
    yield


@lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    with _with_jinja():
        from jinja2 import TemplateSyntaxError

        try:
            return _environment().from_string(template)
        except TemplateSyntaxError as error:
            raise _refusal(template, error.lineno, error) from None


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import nodes, pass_eval_context
    from jinja2.exceptions import SecurityError, TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """The tag ``{% generation %}``: notes where its text comes to lie."""

        tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            block = nodes.CallBlock(self.call_method("_note"), [], [], body)
            return block.set_lineno(line)

        @pass_eval_context
        def _note(self, context: Any, caller: Any) -> str:
            text: str = caller()
            tracked = _TRACKED.get()
            if tracked is not None:
                begin = sum(map(len, tracked.parts))
                tracked.generated.append((begin, begin + len(text)))
            return text

    class ClosedNamespace(Namespace):
        """A namespace without names that begin with an underscore."""

        def __init__(*args: Any, **values: Any) -> None:
            # Like a dictionary, it may be given a value that is called self.
            for name in dict(*args[1:], **values):
                _check_open(name)
            Namespace.__init__(*args, **values)

        def __setitem__(self, name: str, value: Any) -> None:
            _check_open(name)
            super().__setitem__(name, value)

    class MakeDict:
        """Makes dictionaries, and is not their class."""

        def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
            return dict(*args, **values)

        def fromkeys(self, *args: Any) -> dict[Any, Any]:
            return dict.fromkeys(*args)

    def _check_open(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"namespace: {name!r} begins with an underscore")

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(message)

    def strftime_now(pattern: str) -> str:
        return datetime.now().strftime(pattern)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        # jinja2's own writes < and & as a web page needs them.
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(
        raise_exception=raise_exception,
        strftime_now=strftime_now,
        namespace=ClosedNamespace,
        dict=MakeDict(),
    )
    return environment


def _line_of(trace: TracebackType | None) -> int | None:
    """The line of the template that was run last."""
    line = None
    while trace is not None:
        # jinja2 gives its frames the lines of the template.
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _refusal(template: str, line: int | None, error: Exception) -> ValueError:
    lines = template.splitlines()
    place = "" if line is None else f" line {line}:"
    shown = ""
    if line is not None and 0 < line <= len(lines):
        shown = f" ({lines[line - 1].strip()[:80]!r})"
    reason = str(error) or type(error).__name__
    return ValueError(f"chat_template:{place} {reason}{shown}")


__all__ = ["render"]
