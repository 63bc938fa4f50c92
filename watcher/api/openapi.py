"""The API as an OpenAPI 3.1 document. All actions are POSTs to one address, told apart by a header; so that each can be
described, its name stands behind a ``#``, which is never sent.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from watcher import __version__
from watcher.api.base import Action
from watcher.api.server import VERSION
from watcher.api.table import ACTIONS
from watcher.mps import wire
from watcher.mps.families import TABLE

_REFERENCE = "#/components/schemas/{model}"
_HIDDEN = ("Trusted", "Enabled", "CommandTaskSet")
"""Members that a file may have, or nobody, but no request."""
_ANSWER = {
    "type": "object",
    "required": ["Response"],
    "properties": {
        "Response": {
            "type": "object",
            "required": ["RequestId"],
            "properties": {
                "RequestId": {"type": "string", "format": "uuid"},
                "Error": {
                    "type": "object",
                    "required": ["Code", "Message"],
                    "properties": {"Code": {"type": "string"}, "Message": {"type": "string"}},
                },
            },
        }
    },
}


def document() -> dict[str, Any]:
    """The whole description."""
    models: list[type[BaseModel]] = []
    for action in ACTIONS.values():
        if action.model is not None and action.model not in models:
            models.append(action.model)
    references, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
    schemas = {name: _wired(schema) for name, schema in definitions.get("$defs", {}).items()}
    by_model = {model: references[model, "validation"] for model in models}
    for family in TABLE.values():
        if family.rate:
            schemas[f"Modify{family.stem}"] = _modifying(schemas[by_model[family.model]["$ref"].rpartition("/")[2]])
    schemas["Answer"] = _ANSWER
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "watcher: the MPS API",
            "version": __version__,
            "description": f"Every action is POST / with X-TC-Action and X-TC-Version: {VERSION}, signed with "
            "TC3-HMAC-SHA256. API errors come with status 200.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8080"}],
        "security": [{"tc3": []}],
        "paths": {f"/#{name}": {"post": _operation(action, by_model)} for name, action in sorted(ACTIONS.items())},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "tc3": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "TC3-HMAC-SHA256 Credential=…, SignedHeaders=content-type;host, Signature=…",
                }
            },
        },
    }  # fmt: skip


def _operation(action: Action, references: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    name = f"Modify{action.name.removeprefix('Modify')}"
    schema = references[action.model] if action.model is not None else {"$ref": _REFERENCE.format(model=name)}
    if action.name == "ResetWorkflow":
        schema = {"allOf": [schema, {"required": ["WorkflowId"], "properties": {"WorkflowId": {"type": "integer"}}}]}
    return {
        "operationId": action.name,
        "summary": f"Needs {action.rights.name.lower()} rights; {action.rate} calls a second.",
        "parameters": [
            {"name": "X-TC-Action", "in": "header", "required": True, "schema": {"const": action.name}},
            {"name": "X-TC-Version", "in": "header", "required": True, "schema": {"const": VERSION}},
            {"name": "X-TC-Timestamp", "in": "header", "required": True, "schema": {"type": "integer"}},
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {
                "description": "The answer, or an error.",
                "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Answer")}}},
            }
        },
    }


def _modifying(schema: dict[str, Any]) -> dict[str, Any]:
    """Members that are left out stay as they are."""
    properties = {"Definition": {"type": "integer", "minimum": 0}, **schema["properties"]}
    return {**schema, "required": ["Definition"], "properties": properties}


def _wired(schema: Any) -> Any:
    """A schema with the names of the wire."""
    if isinstance(schema, list):
        return [_wired(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _wired(item) for key, item in schema.items() if key not in ("properties", "required", "title")}
    if isinstance(schema.get("properties"), dict):
        renamed = {wire.to_wire(name): _wired(item) for name, item in schema["properties"].items()}
        made["properties"] = {name: item for name, item in renamed.items() if name not in _HIDDEN}
    if isinstance(schema.get("required"), list):
        made["required"] = [wire.to_wire(name) for name in schema["required"]]
    return made
