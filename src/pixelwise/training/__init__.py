"""Training. Settings that torch and its OpenMP read when they are loaded are made before, unless the user made them."""

import getpass
import os
import sys

# torch's threads wait for each other thousands of times a step. GNU's OpenMP keeps a waiting thread busy for up to
# 300,000 turns, several milliseconds: on a machine that does something else too, that is time which the thread waited
# for would need, and a step takes many times as long. See benchmarks/busy.py.
SPINS = "300"
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
if sys.platform == "darwin":  # what Apple's GPU lacks is computed by the processor
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
try:  # torch names a folder after the user, who has no name in many a container
    getpass.getuser()
except (ImportError, KeyError, OSError):
    os.environ["LOGNAME"] = "pixelwise"
