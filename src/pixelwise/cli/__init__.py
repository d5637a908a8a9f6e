"""The command line: parse, call, print. Every command is one Python function of the same name."""

# In the order in which `pixelwise --help` lists the commands.
from pixelwise.cli.shared import app  # isort: skip
from pixelwise.cli import training, data, evaluation, prediction, serving, models  # isort: skip

__all__ = ["app", "data", "evaluation", "models", "prediction", "serving", "training"]
