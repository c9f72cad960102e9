"""Chat templates: the text, ids and masks of transformers, and no way out of the sandbox."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from huggingface_cases import byte_level
from tokfrag import Tokenizer
from tokfrag.tokens.live_parts import LiveParts

transformers = pytest.importorskip("transformers")
pytest.importorskip("jinja2")

# In the styles of well-known models.
TEMPLATES = {
    "llama3": """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start|>' + message['role'] + '<|end_of_role|>\\n\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}{{ message['content'] | trim + '<end>' }}{%- endgeneration %}
    {%- else %}
        {{- message['content'] | trim + '<end>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant<|end_of_role|>\\n\\n' }}{% endif %}
""",
    "qwen2.5": """\
{%- if tools %}
    {{- '<im>system\\n' }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- '<end>\\n' }}
{%- endif %}
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}
    {{- '<im>' + message.role + '\\n' }}
    {%- if message.content is string %}{{ message.content }}{% endif %}
    {%- for call in message.tool_calls or [] %}
        {%- if call.function %}{%- set call = call.function %}{%- endif %}
        {{- '{"name": "' + call.name + '", "arguments": ' + call.arguments | tojson + '}' }}
    {%- endfor %}
    {{- '<end>\\n' }}
{%- endfor %}
{%- if enable_thinking is defined and not enable_thinking %}
    {{- 'no thoughts after ' ~ ns.last }}
{%- endif %}
{%- if add_generation_prompt %}{{- '<im>assistant\\n' }}{%- endif %}
""",
    "chatml": """\
{% for message in messages %}
{{ '<im>' + message['role'] + '\\n' }}
{% if message['role'] == 'assistant' %}
{% generation %}
{{ message['content'] }}<end>
{% endgeneration %}
{% else %}
{{ message['content'] + '<end>' + '\\n' }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ '<im>assistant\\n' }}
{% endif %}
""",
    "mistral": """\
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- bos_token }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.last and system is defined %}{{ '[INST] ' + system + '\\n\\n' }}
        {%- else %}{{ '[INST] ' }}{%- endif %}
        {{- message['content'] + ' [/INST]' }}
    {%- else %}
        {%- if loop.index0 > 9 %}{% break %}{% endif %}
        {{- ' ' }}{% generation %}{{ message['content'] | trim }}{{ eos_token }}{% endgeneration %}
    {%- endif %}
{%- endfor %}
""",
}
TOOL = {"type": "function", "function": {"name": "wéather", "parameters": {"a": [1, "<b>"]}}}


@cache
def both() -> tuple[Any, Tokenizer]:
    inner = byte_level()
    inner.add_special_tokens(["<pad>", "<im>"])
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", bos_token="<im>"
    )
    return theirs, Tokenizer.adopt(theirs)


contents = st.lists(st.sampled_from(["the", " cat", "é", "\n", "<end>", " ", "你好"]), max_size=5)
chats = st.lists(contents.map("".join), min_size=1, max_size=5).map(
    lambda said: [
        {"role": ("user", "assistant")[index % 2], "content": text}
        for index, text in enumerate(said)
    ]
)


def plain(encoded: Any) -> Any:
    return {
        key: value.tolist() if hasattr(value, "tolist") else value for key, value in encoded.items()
    }


@pytest.mark.parametrize("style", TEMPLATES)
@given(
    chat=chats,
    system=st.booleans(),
    batch=st.booleans(),
    tools=st.sampled_from([None, [TOOL]]),
    prompt=st.booleans(),
    options=st.sampled_from(
        [
            {},
            {"padding": True, "return_tensors": "np"},
            {"truncation": True, "max_length": 9},
            {"padding": "max_length", "max_length": 90, "padding_side": "left"},
        ]
    ),
)
@settings(max_examples=60)
def test_templates_give_what_transformers_gives(
    style: str,
    chat: list[dict[str, str]],
    system: bool,
    batch: bool,
    tools: Any,
    prompt: bool,
    options: dict[str, Any],
) -> None:
    theirs, ours = both()
    if system:
        chat = [{"role": "system", "content": "Be brief."}, *chat]
    if style == "llama3" and batch:
        chat = [*chat, {"role": "user", "content": "more", "name": None}]  # type: ignore[dict-item]
    messages = [chat, chat[:1]] if batch else chat
    if style == "mistral" and system and batch:
        messages = [chat, chat[:2]]
    common: dict[str, Any] = {
        "tools": tools,
        "chat_template": TEMPLATES[style],
        "add_generation_prompt": prompt,
    }
    more = {"enable_thinking": False} if batch else {}
    assert ours.apply_chat_template(
        messages, tokenize=False, variables=more, **common
    ) == theirs.apply_chat_template(messages, tokenize=False, **more, **common)
    side = options.get("padding_side")
    sided = {key: value for key, value in options.items() if key != "padding_side"}
    extra = {"tokenizer_kwargs": {"padding_side": side}} if side else {}
    masks = {"return_assistant_tokens_mask": style != "qwen2.5"}
    hf = ours.as_huggingface()
    found = hf.apply_chat_template(messages, **more, **common, **sided, **extra, **masks)
    wanted = theirs.apply_chat_template(messages, **more, **common, **sided, **extra, **masks)
    assert list(found) == list(wanted)
    assert plain(found) == plain(wanted)


@pytest.mark.parametrize("style", ["llama3", "qwen2.5", "chatml"])
@pytest.mark.parametrize("said", ["the cat", "the cat  ", " the cat\n"])
def test_the_last_message_goes_on(style: str, said: str) -> None:
    theirs, ours = both()
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
    options = {"chat_template": TEMPLATES[style], "continue_final_message": True, "tokenize": False}
    wanted = theirs.apply_chat_template(chat, **options)
    assert ours.apply_chat_template(chat, **options) == wanted
    assert ours.apply_chat_template(chat, **{**options, "tokenize": True}).input_ids == (
        theirs.apply_chat_template(chat, **{**options, "tokenize": True}).input_ids
    )
    blocks = [chat[0], {"role": "assistant", "content": [{"type": "text", "text": said}]}]
    options["chat_template"] = "{{ messages[-1].content[0].text }}<end>"
    assert ours.apply_chat_template(blocks, **options) == said
    assert blocks[1]["content"] == [{"type": "text", "text": said}]


def test_reasoning_goes_on_under_any_of_its_names() -> None:
    theirs, ours = both()
    chat = [{"role": "assistant", "content": "x", "thinking": "hm"}]
    for template in ("{{ messages[0].reasoning_content }}|", "{{ messages[0].thinking }}|"):
        for options in ({}, {"continue_final_message": "thinking"}):
            said = {"chat_template": template, "tokenize": False, **options}
            assert ours.apply_chat_template(chat, **said) == theirs.apply_chat_template(
                chat, **said
            )


@dataclasses.dataclass
class Message:
    """A message of somebody's own kind."""

    role: str
    content: Any
    name: str | None = None


def test_templates_see_nothing_but_plain_values() -> None:
    _, ours = both()
    written = ours.apply_chat_template(
        [Message("user", {"image": object()})],
        tokenize=False,
        chat_template="{{ messages }} {{ documents }}",
        documents=[{"title": "a"}],
    )
    assert written == "[{'role': 'user', 'content': {'image': '<object>'}}] [{'title': 'a'}]"


def test_adopted_templates_and_their_names() -> None:
    theirs, _ = both()
    try:
        theirs.chat_template = {"default": "d", "tool_use": "t", "rag": "r"}
        ours = Tokenizer.adopt(theirs)
    finally:
        theirs.chat_template = None
    chat = [{"role": "user", "content": "x"}]
    given = {"tokenize": False}
    assert ours.apply_chat_template(chat, **given) == "d"
    assert ours.apply_chat_template(chat, tools=[TOOL], **given) == "t"
    assert ours.apply_chat_template(chat, chat_template="rag", **given) == "r"
    assert ours.apply_chat_template(chat, chat_template="own", **given) == "own"
    assert ours.as_huggingface().get_chat_template() == "d"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a\n{% if %}", r"chat_template: line 2: .* \('{% if %}'\)"),
        ("a\n\n{{ messages[0].content.x.y }}", r"chat_template: line 3: .*undefined|no attribute"),
        ("a\n{{ raise_exception('no system') }}", r"chat_template: line 2: no system \("),
        ("{% for m in messages %}\n{{ 1 / 0 }}{% endfor %}", r"line 2: division by zero"),
        ("{{ 3 | nothing }}", r"line 1: No filter named 'nothing'"),
    ],
)
def test_a_template_that_fails_says_where(template: str, message: str) -> None:
    _, ours = both()
    with pytest.raises(ValueError, match=message):
        ours.apply_chat_template(
            [{"role": "user", "content": "x"}], chat_template=template, tokenize=False
        )


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ messages|attr('__init__')|attr('__globals__') }}",
        "{{ lipsum.__globals__['os'].system('true') }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ namespace.__setitem__.__globals__ }}",
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ dict.__class__ }}",
        "{{ dict.fromkeys.__func__.__globals__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__globals__ }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ '{a.__class__}'.format_map({'a': ''}) }}",
        "{{ ('{0.__class__}'|attr('format'))('') }}",
        "{{ ['{0.__class__}']|map('attr', 'format')|first }}{{ 1 / 0 }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'a': 1}) }}",
        "{{ messages[0].clear() }}",
        "{% import 'os' as os %}",
        "{% include '/etc/passwd' %}",
        "{{ range(10000000) | list | length }}",
        "{{ (1).__reduce_ex__(2) }}",
        "{% for x in (messages | map(attribute='__class__')) %}{{ x.mro() }}{% endfor %}",
    ],
)
def test_no_template_reaches_the_interpreter(template: str) -> None:
    """What is closed is refused, or is as if it were not there."""
    _, ours = both()
    chat = [{"role": "user", "content": "x"}]
    with contextlib.suppress(ValueError):
        assert ours.apply_chat_template(chat, chat_template=template, tokenize=False) == ""
    assert chat == [{"role": "user", "content": "x"}]


def test_what_cannot_be_done_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = both()
    chat = [{"role": "user", "content": "x"}]
    content = "{{ messages[0].content }}"
    for messages, options, message in (
        (chat, {}, "the tokenizer has none"),
        ([], {"chat_template": "a"}, "messages: got none"),
        (
            chat,
            {"chat_template": content, "continue_final_message": True, "add_generation_prompt": 1},
            "takes one of both",
        ),
        (chat, {"chat_template": "a", "continue_final_message": True}, "does not read 'content'"),
        (
            chat,
            {"chat_template": "{# content #}", "continue_final_message": True},
            "does not write the last message",
        ),
        (
            chat,
            {"chat_template": content, "continue_final_message": "name"},
            "no 'name' to continue",
        ),
        (
            chat,
            {"chat_template": "a", "return_assistant_tokens_mask": True, "tokenize": False},
            "takes tokenize and return_dict",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            ours.apply_chat_template(messages, **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tools: item 0 is a int, takes a JSON schema"):
        ours.apply_chat_template(chat, chat_template="a", tools=[1])
    with pytest.raises(ValueError, match="tools: item 0: "):
        ours.apply_chat_template(chat, chat_template="a", tools=[lambda x: x])
    with pytest.raises(TypeError, match="messages: item 0 is a str, takes a dict"):
        ours.apply_chat_template(["x"], chat_template="a")
    monkeypatch.setattr("jinja2.__version__", "3.1.4")
    with pytest.raises(ImportError, match=r"got jinja2 3.1.4, takes 3.1.6"):
        ours.apply_chat_template(chat, chat_template="never seen")
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'tokfrag\[chat\]'"):
        ours.apply_chat_template(chat, chat_template="nor this")


def test_functions_are_tools_as_transformers_describes_them() -> None:
    def weather(city: str, days: int = 1) -> str:
        """
        Tell the weather.

        Args:
            city: Where.
            days: How many.
        """
        return city * days

    utils = pytest.importorskip("transformers.utils")
    tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    chat = [{"role": "user", "content": "hi"}]
    made, given = (
        tok.apply_chat_template(
            chat, tools=[tool], chat_template="{{ tools | tojson }}", tokenize=False
        )
        for tool in (weather, utils.get_json_schema(weather))
    )
    assert made == given
    assert '"city"' in made


@pytest.mark.parametrize("style", ["llama3", "chatml", "qwen2.5"])
@given(
    turns=st.lists(chats, min_size=1, max_size=4),
    options=st.sampled_from(
        [
            {},
            {"return_dict": False},
            {"return_tensors": "np"},
            {"padding": "max_length", "max_length": 90},
            {"return_tensors": "np", "return_dict": False, "padding": True},
        ]
    ),
    prompt=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_a_chat_goes_on_from_the_turn_before(
    style: str, turns: list[list[dict[str, str]]], options: dict[str, Any], prompt: bool
) -> None:
    """Whatever the chat was before: longer, shorter, another one."""
    theirs, ours = both()
    live = ours.live(allowed_special="all")
    chat: list[dict[str, str]] = []
    for turn in turns:
        chat = turn if len(turn) == 1 else chat + turn
        common: Any = {
            "chat_template": TEMPLATES[style],
            "add_generation_prompt": prompt,
            **options,
        }
        wanted = theirs.apply_chat_template(chat, **common)
        for give in (ours.as_huggingface().apply_chat_template, ours.apply_chat_template):
            found = give(chat, previous=live, **common)
            if options.get("return_dict", True):
                assert list(found) == list(wanted)
                assert plain(found) == plain(wanted)
            else:
                assert np.array_equal(found, wanted)


def test_a_turn_encodes_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = both()
    hf = ours.as_huggingface()
    live = ours.live(allowed_special="all")
    chat = [{"role": "user", "content": "the cat sat on the mat, " * 400}]
    common: Any = {"chat_template": TEMPLATES["llama3"], "return_dict": False}
    hf.apply_chat_template(chat, previous=live, **common)
    encoded: list[str] = []
    cut = LiveParts.cut
    monkeypatch.setattr(
        LiveParts, "cut", lambda make, text: encoded.append(text) or cut(make, text)
    )
    branch = live.fork()
    chat.append({"role": "assistant", "content": "Did it?"})
    ids = hf.apply_chat_template(chat, previous=branch, **common)
    assert len("".join(encoded)) < 1000 < len(live.text)
    assert ids == hf.apply_chat_template(chat, **common)
    assert branch.text == hf.apply_chat_template(chat, tokenize=False, **common)
    again, stored = pickle.loads(pickle.dumps((ours, live)))
    assert again.apply_chat_template(chat, previous=stored, **common) == ids


def test_what_a_chat_cannot_go_on_from() -> None:
    _, ours = both()
    chat = [{"role": "user", "content": "the"}]
    live = ours.live(allowed_special="all")
    other = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    for messages, previous, options in (
        (chat, other.live(allowed_special="all"), {}),
        (chat, ours.live(), {}),
        ([chat], live, {}),
        (chat, live, {"tokenize": False}),
        (chat, live, {"truncation": True, "max_length": 4}),
        (chat, live, {"return_assistant_tokens_mask": True}),
    ):
        with pytest.raises(ValueError, match="previous: "):
            ours.apply_chat_template(
                messages, chat_template=TEMPLATES["llama3"], previous=previous, **options
            )
    assert live.text == ""
