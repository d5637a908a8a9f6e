"""The REST documentation as one page that loads nothing: made from the OpenAPI description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from pixelwise.reports.html_page import render
from pixelwise.server.security import is_proven_path

FLAT_LIST = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")  # of indented JSON: a list that holds no list and no object


def docs_html(openapi: dict[str, Any], address: str) -> str:
    """The page.

    Args:
        address: of this server, "http://127.0.0.1:8000", for the examples.
    """
    schemas = openapi.get("components", {}).get("schemas", {})
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in openapi["paths"].items():
        for method, facts in methods.items():
            operation = {"method": method.upper(), "path": path, "facts": facts, "answers": answers_of(facts)}
            operation["rows"] = [
                (one["name"], one["in"], kind(one.get("schema", {})), one.get("description") or "")
                for one in facts.get("parameters", [])
            ]
            operation["curl"] = curl(method, path, facts, address, schemas)
            groups.setdefault(facts["tags"][0].capitalize(), []).append(operation)
    return render("rest.html", about=openapi["info"]["description"], groups=groups)


def answers_of(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Media type and example of every good answer of an operation."""
    responses = facts["responses"]
    good = next(responses[code] for code in ("200", "201", "202") if code in responses)["content"]
    return [(media, as_text(content["example"])) for media, content in good.items()]


def curl(method: str, path: str, facts: Mapping[str, Any], address: str, schemas: Mapping[str, Any]) -> str:
    """A command line that calls an operation; names in capitals are for the reader to fill in."""
    required = {
        one["name"]: one["schema"]["examples"][0]
        for one in facts.get("parameters", [])
        if one["in"] == "query" and one["required"]
    }
    query = f"?{urlencode(required)}" if required else ""
    named = re.sub(r"{(\w+)}", lambda found: found[1].upper(), path)
    token = " -H 'Authorization: Bearer TOKEN'" if is_proven_path(path) else ""
    body = ""
    if "requestBody" in facts:
        content = facts["requestBody"]["content"]
        body = " --data-binary @mask.png" if path.endswith(("/truth", "/mask-values")) else " --data-binary @photo.jpg"
        body = " --data-binary @edit.bin" if path.endswith("/edits") else body
        if "application/json" in content:
            example = schemas[content["application/json"]["schema"]["$ref"].rpartition("/")[2]]["examples"][0]
            body = f" -H 'Content-Type: application/json' -d '{json.dumps(example)}'"
    verb = f" -X {method.upper()}" if method != ("post" if body else "get") else ""
    return f"curl{verb} '{address}{named}{query}'{token}{body}"


def as_text(example: Any) -> str:
    """An example as indented JSON, each list of plain values on one line."""
    if isinstance(example, str):
        return example
    text = json.dumps(example, indent=1, ensure_ascii=False)
    return FLAT_LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", text)


def kind(schema: dict[str, Any]) -> str:
    """A JSON schema's type in a few words."""
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(kind(one) for one in schema["anyOf"] if one.get("type") != "null")
    return str(schema.get("type", ""))
