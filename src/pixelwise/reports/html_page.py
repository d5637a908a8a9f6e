"""Every HTML report is rendered here: one style, light and dark, no script, and nothing loaded from outside the file.

`templates/base.html` holds the style, the content security policy and the macros that all pages share.
"""

from __future__ import annotations

import re
from functools import cache
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from pixelwise.images.files import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **facts: Any) -> str:
    """A page as HTML. Every value is escaped, except charts, which escape what they contain.

    Args:
        template: the name of a file in `templates/`.
        facts: the template's variables; a missing one is an error.
    """
    return environment().get_template(template).render(**facts)


def write_page(html: str, path: Path) -> None:
    """Write a page, completely or not at all. Raises OutputError."""
    write_whole(path, html.encode("utf-8", "replace"))


@cache
def environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("pixelwise.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "percent": lambda share: number(share, ".1%"),
        "points": lambda difference: number(difference and difference * 100, "+.1f"),
        "count": lambda value: f"{value:,}",
        "number": number,
        "code": with_code,
        "rgb": lambda colour: "rgb({}, {}, {})".format(*colour),
    }
    return made


def with_code(text: object) -> Markup:
    """A text, escaped, with what is `between backticks` as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def number(value: float | None, form: str = ".3f") -> str:
    """A number in the given format; a dash where there is none."""
    return "–" if value is None or isnan(value) else f"{value:{form}}"
