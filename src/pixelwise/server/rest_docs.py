"""The REST interface's documentation as one page with nothing to load: from the OpenAPI description itself."""

from __future__ import annotations

import json
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.75rem; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 2rem 0 .25rem; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: 4px; font-size: .875rem; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
code { font-size: .875em; }
"""


def docs_html(openapi: dict[str, Any]) -> str:
    groups: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, facts in methods.items():
            groups.setdefault(facts["tags"][0], []).append(operation(path, method, facts))
    sections = "".join(
        f"<section><h2>{escape(tag).capitalize()}</h2>{''.join(rows)}</section>" for tag, rows in groups.items()
    )
    about = escape(openapi["info"]["description"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pixelwise: REST interface</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>'
        f"<h1>REST interface</h1><p>{about}</p>"
        f'<p>For machines: <a href="/v1/openapi.json">/v1/openapi.json</a>. The page: <a href="/">/</a>.</p>'
        f"{sections}</main></body></html>"
    )


def operation(path: str, method: str, facts: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
        f"<td>{escape(kind(p.get('schema', {})))}</td><td>{escape(p.get('description') or '')}</td></tr>"
        for p in facts.get("parameters", [])
    )
    head = "<tr><th>parameter</th><th>in</th><th>type</th><th>meaning</th></tr>"
    table = f'<table aria-label="Parameters of {escape(path)}">{head}{rows}</table>' if rows else ""
    body = ""
    if "requestBody" in facts:
        content = facts["requestBody"]["content"]
        body = " --data-binary @photo.jpg" if "image/*" in content else " -H 'Content-Type: application/json' -d '{…}'"
    verb = "" if method == "get" else f" -X {method.upper()}"
    responses = facts["responses"]
    answers = responses.get("201", responses.get("200"))["content"]
    shown = "".join(
        f"<p><code>{escape(media)}</code></p><pre tabindex=0>{escape(as_text(facts['example']))}</pre>"
        for media, facts in answers.items()
    )
    return (
        f"<h3>{method.upper()} <code>{escape(path)}</code></h3><p>{escape(facts.get('description', ''))}</p>{table}"
        f"<pre tabindex=0>curl{verb} 'http://127.0.0.1:8000{escape(path)}'{body}</pre>{shown}"
    )


def as_text(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)


def kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(str(v) for v in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(kind(one) for one in schema["anyOf"] if one.get("type") != "null")
    return str(schema.get("type", ""))
