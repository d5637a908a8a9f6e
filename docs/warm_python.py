"""A Python that has imported everything once and forks for each command: the pages' commands start in no time.

Templates of exported graphs are kept in the folder that is its argument, so that each structure is traced once. Reads
one JSON object a line: {"arguments": […], "program": "…", "folder": "…", "output": "…"}. Runs the program where
there is one, and `pixelwise ARGUMENTS` otherwise. Answers each with its exit code.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import cv2  # noqa: F401  this and the following: what the commands would import
import numpy  # noqa: F401
import onnxruntime  # noqa: F401
import torch

import pixelwise as pw
from pixelwise.__main__ import main

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import shared_exports

shared_exports.use(Path(sys.argv[1]))
for name in pw.__all__:
    getattr(pw, name)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # its warning about torchvision is irrelevant
    torch.onnx.export(
        torch.nn.ReLU().eval(), (torch.zeros(1),), dynamo=True, verbose=False
    )  # imports that take seconds


def run(asked: dict[str, Any]) -> NoReturn:
    """Run it in this process, which a fork made for it."""
    code = 1
    try:
        os.chdir(asked["folder"])
        os.environ["PWD"] = asked["folder"]
        for stream, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, os.open(asked["output"], os.O_WRONLY))):
            os.dup2(source, stream)
        os.dup2(1, 2)
        sys.argv = ["pixelwise", *asked["arguments"]]
        if asked["program"]:
            exec(compile(asked["program"], "page", "exec"), {"__name__": "__main__"})
        else:
            main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
