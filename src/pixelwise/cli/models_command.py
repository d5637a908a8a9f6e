"""models."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelwise.cli.shared_options import JsonFile, app, console_of, write_json


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print the model card of this model.")] = None,
    json_file: JsonFile = None,
) -> None:
    """List the built-in models, or print a model card. Their names work wherever a command takes a MODEL.

    Example: pixelwise models street
    """
    from rich.markdown import Markdown

    from pixelwise.cli.terminal import models_table
    from pixelwise.prediction.built_in_models import built_in
    from pixelwise.prediction.built_in_models import models as list_models

    console = console_of(json_file)
    if name is None:
        found = list_models()
        write_json(json_file, [model.to_json() for model in found])
        console.print(models_table(found))
        console.print("model card: pixelwise models NAME    try one: pixelwise predict NAME photo.jpg --out labelled")
    else:
        model = built_in(name)
        write_json(json_file, model.to_json())
        console.print(Markdown(model.card))
