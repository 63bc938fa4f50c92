"""Bodies from JSON schemas, as hypothesis strategies: what is valid, nearly valid, and absurd."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=8), st.integers(), max_size=3),
    st.sampled_from(["", "../../etc/passwd", "\x00", "{inputName", "9" * 400, "/a//b/", "http://[::1", "%00", "1e999"]),
)


def body(schema: dict[str, Any], document: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that a schema describes; every so often something else in their place."""
    right = _right(schema, document, depth)
    return st.integers(0, 24).flatmap(lambda number: odd if number == 0 and depth else right)


def _right(schema: dict[str, Any], document: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _right(target, document, depth)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return st.one_of([_right(item, document, depth) for item in schema[several]])
    if "allOf" in schema:
        merged = {"type": "object", "properties": {}, "required": []}
        return st.tuples(*(_right({**merged, **item}, document, depth) for item in schema["allOf"])).map(
            lambda parts: {key: value for part in parts for key, value in part.items()}
        )
    makers = {
        "object": _object, "array": _array, "string": _string, "integer": _number, "number": _number,
        "boolean": lambda *_: st.booleans(), "null": lambda *_: st.none(),
    }  # fmt: skip
    return makers[schema.get("type", "object")](schema, document, depth)


def _object(schema: dict[str, Any], document: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if depth > 6:
        return st.just({})
    members = schema.get("properties", {})
    required = set(schema.get("required", []))
    made = {name: body(item, document, depth + 1) for name, item in members.items()}
    whole = st.fixed_dictionaries({name: made[name] for name in members if name in required})
    optional = [name for name in members if name not in required]
    if not optional:
        return whole
    few = st.lists(st.sampled_from(optional), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: made[name] for name in names})
    )
    return st.tuples(whole, few).map(lambda parts: {**parts[0], **parts[1]})


def _array(schema: dict[str, Any], document: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    items = body(schema.get("items", {}), document, depth + 1)
    return st.lists(items, min_size=min(schema.get("minItems", 0), 4), max_size=4)


def _string(schema: dict[str, Any], document: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    usual = st.sampled_from(
        ["in-1250000000", "/a/b.mp4", "/out/", "r", "1s", "50%", "10px", "x", "aGk=", "http://a.example/"]
    )
    return st.one_of(usual, st.text(max_size=min(schema.get("maxLength", 40), 40)))


def _number(schema: dict[str, Any], document: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    low, high = int(schema.get("minimum", -5)), int(schema.get("maximum", 2_000))
    number = st.integers(low, max(low, high))
    return st.one_of(number, number.map(str)) if schema["type"] == "integer" else number.map(lambda value: value / 2)
