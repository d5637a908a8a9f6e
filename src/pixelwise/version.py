"""The version, in a file of its own: bundles and manifests carry it, and importing it imports nothing else."""

__version__ = "0.1.0"
