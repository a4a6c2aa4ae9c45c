"""The site: `scripts/docs` builds it from this folder into build/docs."""

import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import superloss_jax  # noqa: E402
from scripts import docs_formulas, docs_pages, docs_tables  # noqa: E402

project = "superloss_jax"
author = "The superloss_jax authors"
copyright = author
version = release = superloss_jax.__version__
home = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["superloss_jax"]["home"]

extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax",
    "sphinx_copybutton", "sphinx_design",
]  # fmt: skip
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"superloss_jax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_dmath_allow_digits = False  # "$500,001" is money
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

suppress_warnings = ["misc.highlighting_failure"]  # IPython's "!command \\"

nitpicky = True
# Types of other projects: the build needs no network, so their pages are not looked up.
nitpick_ignore_regex = [
    (r"py:.*", r"(jax|jaxtyping|numpy|np|collections|typing|State)\b.*"),
    (r"py:class", r"ArrayLike|Schedule|Array|Init|Update|ThresholdUpdate|superloss_jax\..*\.Tree"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 80


def tidy(app, what, name, obj, options, lines) -> None:
    """Docstrings are plain text with formulas."""
    lines[:] = docs_formulas.prepare(lines)


def short(app, what, name, obj, options, signature, returned):
    """Signatures say ArrayLike and Schedule again, not all that they stand for."""
    array = r"[\w.~]*Array \| [\w.~]*ndarray \|[\w.~ |]*complex"
    texts = [re.sub(array, "ArrayLike", text) if text else text for text in (signature, returned)]
    called = r"[\w.~]*Callable\[\[[\w.~]*Array\], ArrayLike\]"
    return tuple(re.sub(called, "Schedule", text) if text else text for text in texts)


def outside(app, docname, source) -> None:
    """Links to files that are not on the site lead to the repository; "1 ± 2" stays on a line."""
    source[0] = docs_tables.fold(source[0])
    source[0] = source[0].replace(" ± ", "\u00a0±\u00a0").replace("REPOSITORY", home)
    source[0] = re.sub(r"\]\(\.\./(?!docs/)(?=[^)]*\))", f"]({home}/blob/HEAD/", source[0])


def setup(app) -> None:
    for module in docs_pages.PUBLIC:  # public names, where the documentation has them
        for name in module.__all__:
            value = getattr(module, name)
            if getattr(value, "__module__", "").startswith("superloss_jax._"):
                value.__module__ = module.__name__
    docs_pages.write(ROOT, ROOT / "docs" / "generated")
    # Before napoleon, which runs at the same event.
    app.connect("autodoc-process-docstring", tidy, priority=400)
    app.connect("autodoc-process-signature", short)
    app.connect("source-read", outside)
