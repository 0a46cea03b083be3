"""Configure Sphinx, which builds a website from this folder: ``tox run -e docs``. It needs no network."""

import inspect
import os
import re
import warnings
from contextlib import AbstractContextManager
from typing import Any

from sphinx.application import Sphinx

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

myst_heading_anchors = 3  # so that links such as page.md#a-heading work

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints = "none"  # sphinx_autodoc_typehints shows them in the list of parameters
smartquotes = False  # they would change the two hyphens of command options
always_use_bars_union = True
# It warns about the next version of Sphinx.
warnings.filterwarnings("ignore", category=DeprecationWarning, module="sphinx_autodoc_typehints")

# A reference to a public name without an entry is a mistake. Private names and those of other packages have no entry.
nitpicky = True
suppress_warnings = ["sphinx_autodoc_typehints.forward_reference"]  # type aliases that are strings are shown unchanged
nitpick_ignore_regex = [("py:.*", r"(?!ldai_integrations\.).+\..+"), ("py:.*", r".*\._.*")]
nitpick_ignore = [
    ("py:data", "Ellipsis"),
    *(("py:exc", name) for name in ("NoScoreError", "SdkChangedError")),  # internal exceptions
]

html_theme = "furo"
html_title = f"ldai-integrations {release}"
# The workflow that publishes the site knows the address of the repository, and the pages get links to edit them.
if "DOCS_REPOSITORY" in os.environ:
    html_theme_options = {
        "source_repository": os.environ["DOCS_REPOSITORY"],
        "source_branch": "main",
        "source_directory": "docs/",
    }


def show_signature(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, signature: str | None, _returns: str | None
) -> tuple[str, str] | None:
    """Show the signature of the page, or else of the code. A default that has no literal becomes an ellipsis."""
    return (re.sub(r"<[^<>]*(<lambda>)?>", "…", signature), "") if signature else None


def show_context_managers(_app: Sphinx, function: Any, _bound_method: bool) -> None:
    """Show the type that callers of a context manager get, which is not the iterator in the code."""
    generator = inspect.unwrap(function)
    if generator is not function and inspect.isgeneratorfunction(generator):
        generator.__globals__["AbstractContextManager"] = AbstractContextManager
        value = generator.__annotations__["return"].removeprefix("Iterator")
        generator.__annotations__["return"] = f"AbstractContextManager{value}"


def setup(app: Sphinx) -> None:
    """Connect the functions of this module."""
    app.connect("autodoc-process-signature", show_signature, priority=400)  # before sphinx_autodoc_typehints
    app.connect("autodoc-before-process-signature", show_context_managers)
