"""The command line: parse, call, print. One file a command; each command is a function of the same name."""

# In the order in which `pixelwise --help` lists the commands.
from pixelwise.cli.shared_options import app  # isort: skip
from pixelwise.cli import demo_command, plan_command, train_command, export_command  # isort: skip
from pixelwise.cli import check_command, convert_command, chips_command  # isort: skip
from pixelwise.cli import evaluate_command, compare_command, suggest_command, accept_command  # isort: skip
from pixelwise.cli import label_command  # isort: skip
from pixelwise.cli import predict_command, objects_command, trace_command, serve_command, models_command  # isort: skip

__all__ = [
    "accept_command",
    "app",
    "check_command",
    "chips_command",
    "compare_command",
    "convert_command",
    "demo_command",
    "evaluate_command",
    "export_command",
    "label_command",
    "models_command",
    "objects_command",
    "plan_command",
    "predict_command",
    "serve_command",
    "suggest_command",
    "trace_command",
    "train_command",
]
