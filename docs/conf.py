"""How the pages in this folder become a site: ``tox run -e docs``. Nothing is fetched from the network."""

import warnings

from ldai_integrations import __version__

project = "ldai-integrations"
version = release = __version__
root_doc = "index"
exclude_patterns = ["_build"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinxarg.ext",
]

myst_heading_anchors = 3  # links such as page.md#a-heading work as they do on a code host

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
smartquotes = False  # options of the command begin with two hyphens
always_use_bars_union = True
typehints_defaults = "comma"
# Its own business with the next Sphinx.
warnings.filterwarnings("ignore", category=DeprecationWarning, module="sphinx_autodoc_typehints")

# A reference to a public name that has no entry is a mistake. What is private, or another package's, has none.
nitpicky = True
suppress_warnings = ["sphinx_autodoc_typehints.forward_reference"]  # aliases that are text are shown as they are
nitpick_ignore_regex = [("py:.*", r"(?!ldai_integrations\.).+\..+"), ("py:.*", r".*\._.*")]
nitpick_ignore = [
    ("py:data", "Ellipsis"),
    *(("py:exc", name) for name in ("NoScoreError", "SdkChangedError")),  # raised among rooms only
]

html_theme = "furo"
html_title = f"ldai-integrations {release}"
