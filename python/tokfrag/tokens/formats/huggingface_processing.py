"""The parts of ``tokenizer.json`` that work on ids: post-processor, truncation, padding."""

from __future__ import annotations

from tokfrag.tokens.formats.huggingface_steps import only_forms
from tokfrag.tokens.formats.json_place import Place, shorten
from tokfrag.tokens.models.text_steps import TextStep
from tokfrag.tokens.specification import AddedToken, CallDefaults, Pipeline, Template

Items = tuple[tuple[int | str, int], ...]


def optional(root: Place, key: str) -> Place | None:
    """A member that is not null."""
    return root.at(key) if root.given(key) else None


def read_pipeline(
    root: Place,
    added: tuple[AddedToken, ...],
    normalizers: tuple[TextStep, ...] = (),
    *,
    prefix_space: bool = False,
) -> Pipeline:
    """What stands around the model."""
    template, trim = read_post_processor(optional(root, "post_processor"))
    max_length, side = read_truncation(optional(root, "truncation"))
    forms = only_forms(normalizers)
    return Pipeline(
        added_tokens=added,
        normalizers=normalizers if forms is None else forms,
        prefix_space=prefix_space,
        template=template,
        trim_offsets=trim is not None,
        trim_prefix_space=bool(trim),
        call=read_padding(optional(root, "padding"), max_length, side),
    )


def read_post_processor(place: Place | None) -> tuple[Template, bool | None]:
    """The template, and how offsets are trimmed: not at all (None), or with a space that was put
    before the first token kept in its offsets (True) or not (False).
    """
    template: Template | None = None
    trim: bool | None = None
    for step in _steps(place):
        kind = step.get("type", str)
        if kind == "ByteLevel":
            step.only("type", "add_prefix_space", "trim_offsets", "use_regex")
            read, trims = None, step.get("trim_offsets", bool)
        elif kind == "RobertaProcessing":
            step.only("type", "sep", "cls", "trim_offsets", "add_prefix_space")
            read, trims = _roberta(step), step.get("trim_offsets", bool)
        elif kind == "BertProcessing":
            step.only("type", "sep", "cls")
            read, trims = _bert(step), False
        elif kind == "TemplateProcessing":
            read, trims = _template(step), False
        else:
            raise step.refusal(
                f"got {kind!r}, takes ByteLevel, TemplateProcessing, BertProcessing,"
                " RobertaProcessing or a sequence of them"
            )
        if trims:
            if trim is not None:
                raise step.refusal("trims offsets a second time")
            trim = step.get("add_prefix_space", bool)
        if read is not None:
            if template is not None:
                raise step.refusal("puts tokens around what has tokens around it already")
            template = read
    return template or Template(), trim


def _steps(place: Place | None) -> list[Place]:
    if place is None:
        return []
    if place.get("type", str) != "Sequence":
        return [place]
    place.only("type", "processors")
    return [inner for step in place.at("processors").items() for inner in _steps(step)]


def _named_id(place: Place, key: str) -> int:
    token = place.at(key)
    match token.value:
        case [str(), int(id)] if type(id) is int:
            return id
    raise token.refusal(f"got {shorten(token.value)}, takes a token and its id")


def _bert(place: Place) -> Template:
    cls, sep = _named_id(place, "cls"), _named_id(place, "sep")
    single: Items = ((cls, 0), ("A", 0), (sep, 0))
    return Template(single, (*single, ("B", 1), (sep, 1)))


def _roberta(place: Place) -> Template:
    cls, sep = _named_id(place, "cls"), _named_id(place, "sep")
    single: Items = ((cls, 0), ("A", 0), (sep, 0))
    return Template(single, (*single, (sep, 0), ("B", 0), (sep, 0)))


def _template(place: Place) -> Template:
    place.only("type", "single", "pair", "special_tokens")
    ids: dict[str, list[int]] = {}
    specials = place.at("special_tokens")
    for name in specials.take(dict):
        special = specials.at(name)
        special.only("id", "ids", "tokens")
        ids[name] = [item.take(int) for item in special.at("ids").items()]
    single = _items(place.at("single"), ids)
    pair = _items(place.at("pair"), ids)
    for given, wanted, where in ((single, ["A"], "single"), (pair, ["A", "B"], "pair")):
        texts = [item for item, _ in given if isinstance(item, str)]
        if texts != wanted:
            raise place.at(where).refusal(f"has sequences {texts}, takes {wanted}, in that order")
    return Template(single, pair)


def _items(place: Place, ids: dict[str, list[int]]) -> Items:
    items: list[tuple[int | str, int]] = []
    for piece in place.items():
        match piece.value:
            case {"Sequence": {"id": ("A" | "B") as name, "type_id": int(kind)}}:
                items.append((name, kind))
            case {"SpecialToken": {"id": str(name), "type_id": int(kind)}} if name in ids:
                items += [(id, kind) for id in ids[name]]
            case _:
                raise piece.refusal(
                    f"got {shorten(piece.value)}, takes Sequence or a known SpecialToken"
                )
    return tuple(items)


def read_truncation(place: Place | None) -> tuple[int | None, str]:
    """The length to cut to (None: uncut), and the side cut."""
    if place is None:
        return None, "right"
    place.only("direction", "max_length", "strategy", "stride")
    strategy, stride = place.get("strategy", str), place.get("stride", int)
    if strategy != "LongestFirst" or stride != 0:
        raise place.refusal(
            f"got strategy {strategy!r} and stride {stride}, takes 'LongestFirst' and 0"
        )
    return _count(place, "max_length"), _side(place)


def read_padding(place: Place | None, max_length: int | None, side: str) -> CallDefaults:
    """The defaults of a call, truncation as given."""
    if place is None:
        return CallDefaults(max_length=max_length, truncation_side=side)
    place.only("strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token")
    strategy = place.at("strategy")
    padding: str | int
    match strategy.value:
        case "BatchLongest":
            padding = "longest"
        case {"Fixed": int()}:
            padding = _count(strategy, "Fixed")
        case _:
            raise strategy.refusal(
                f"got {shorten(strategy.value)}, takes 'BatchLongest' or 'Fixed'"
            )
    multiple = _count(place, "pad_to_multiple_of") if place.given("pad_to_multiple_of") else None
    return CallDefaults(
        max_length,
        side,
        padding,
        _side(place),
        multiple or None,
        _count(place, "pad_id"),
        _count(place, "pad_type_id"),
    )


def _count(place: Place, key: str) -> int:
    value = place.get(key, int)
    if value < 0:
        raise place.at(key).refusal(f"got {value}, takes 0 or more")
    return value


def _side(place: Place) -> str:
    side = place.get("direction", str, "Right")
    if side not in ("Left", "Right"):
        raise place.at("direction").refusal(f"got {side!r}, takes 'Left' or 'Right'")
    return side.lower()
