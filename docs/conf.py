"""Sphinx configuration: MyST Markdown, the Furo theme, nothing fetched from a network.

`make docs` builds the site strictly into `docs/_build/html`: a warning is an error.
"""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]

project = "TOPS"
author = "the TOPS authors"
release = version = _PROJECT["version"]

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
root_doc = "index"

myst_heading_anchors = 3

html_theme = "furo"
html_title = f"TOPS {version}"
html_copy_source = False
html_show_sphinx = False

copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
