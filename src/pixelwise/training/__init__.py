"""Training. Two settings that torch reads when it is imported are made before."""

import getpass
import os
import sys

if sys.platform == "darwin":  # what Apple's GPU lacks is computed by the processor
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
try:  # torch names a folder after the user, who has no name in many a container
    getpass.getuser()
except (ImportError, KeyError, OSError):
    os.environ["LOGNAME"] = "pixelwise"
