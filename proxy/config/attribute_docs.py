"""What the source says of each key of a section: the sentences below the attribute, in Markdown.

They are the last column of docs/configuration.md, so their links begin where that page is.

Pydantic could take it up itself (`use_attribute_docstrings`), but would read the source of every
section at every start, a tenth of a second that only the JSON Schema needs.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from itertools import pairwise

from proxy.config.strict import Section


def attribute_docs(section: type[Section]) -> dict[str, str]:
    """Return the docstrings of the attributes of `section` and its bases, by attribute."""
    found: dict[str, str] = {}
    for base in reversed(section.__mro__):
        if issubclass(base, Section):
            found |= _docs_of_module(base.__module__).get(base.__qualname__, {})
    return found


@functools.cache
def _docs_of_module(name: str) -> dict[str, dict[str, str]]:
    """Return the docstrings of the attributes of each class that stands in a module."""
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    return {node.name: _docs_of(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docs_of(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for attribute, below in pairwise(node.body):
        match attribute, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
    return found
