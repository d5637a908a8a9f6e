"""How the site is built: `make docs`. The pages in reference/generated/ are written here, by the program itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generate import write_reference

import pixelwise

project = "Pixelwise"
author = "the Pixelwise developers"
release = pixelwise.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]  # a page that includes another begins below its title

html_theme = "furo"
html_title = f"Pixelwise {release}"
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
smartquotes = False  # -- in the name of an option stays as it is typed
default_role = "code"  # `single` backticks in docstrings

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

write_reference(Path(__file__).parent / "reference" / "generated")
