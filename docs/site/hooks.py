"""What MkDocs does besides: a reference from the models, pages from beside docs/, links that lead there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from proxy.config.outline import outline
from proxy.config.schema import default_of, json_schema

BESIDE = {
    "SECURITY.md": "policy.md",
    "CHANGELOG.md": "changelog.md",
    **{
        f"benchmarks/results/{path.name}": f"results/{path.name}"
        for path in sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    },
}
"""Pages of the repository that are not in docs/, and where the site has them."""
SAMPLES = "samples.md"
REFERENCE = "reference.md"
HEAD = """\
# Configuration reference

Made from the models that read the file, so it is complete. The same with examples and in words:
[configuration](configuration.md). `${VAR}` may stand for any value.
"""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".conf": "nginx", ".service": "ini"}
WORDS = {
    r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$|\$\{": "duration",
    r"^[0-9]+(B|KiB|MiB|GiB|TiB)$|\$\{": "size",
    r"^unix:.|:[0-9]{1,5}$|\$\{": "address",
    r"\$\{": "`${VAR}`",
}
"""What a pattern of the schema stands for."""


def on_config(config: Any) -> Any:
    """Give headings the anchors that they have where the repository is read."""
    config.mdx_configs["toc"]["slugify"] = anchor
    return config


def anchor(heading: str, separator: str) -> str:
    """Return the anchor of a heading: each space a hyphen, and nothing for what is no word."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here, and those that stand beside docs/."""
    made = {REFERENCE: reference(), SAMPLES: samples()}
    made |= {place: (ROOT / name).read_text() for name, place in BESIDE.items()}
    for place, text in made.items():
        page = File.generated(config, place, content=text)
        page.inclusion = InclusionLevel.INCLUDED
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, **_others: Any) -> str:
    """Lead links out of docs/ to the page that the site has instead."""
    places = {place: name for name, place in BESIDE.items()}
    here = page.file.src_uri
    source = places.get(here, f"docs/{here}")
    return LINK.sub(lambda match: moved(match[1], source, here), markdown)


def moved(target: str, source: str, here: str) -> str:
    """Return where a link of the file `source`, shown as the page `here`, leads on the site."""
    path = (ROOT / source).parent.joinpath(target).resolve()
    if not path.is_relative_to(ROOT) or not path.exists():
        return target  # the strict build says so
    name = path.relative_to(ROOT).as_posix()
    if name == "config" or name.startswith("config/"):
        found = SAMPLES
    else:
        found = BESIDE.get(name, name.removeprefix("docs/"))
    return "../" * here.count("/") + found


def samples() -> str:
    """Return the page of samples: each file of config/ as it is."""
    parts = ["# Samples\n\nThe files of `config/`, each loaded or validated by a test."]
    for path in sorted((ROOT / "config").rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        language = LANGUAGES.get(path.suffix)
        if language and path.name != "latchgate.schema.json" and "dashboard" not in path.name:
            parts.append(f"## {name}\n\n````{language}\n{path.read_text()}````")
    return "\n\n".join(parts) + "\n"


def reference() -> str:
    """Return the reference of the configuration: every key, as the models have it."""
    schema = json_schema()
    parts = [HEAD]
    for path, field in outline():
        if not re.search(r"[.\[]", path):
            parts.append(
                f"\n## {path}\n\n{cell(schema['properties'][path].get('description', ''))}\n"
            )
            parts.append("| key | values | default | meaning |\n|---|---|---|---|")
        node = find(schema, path)
        default = "required" if field.is_required() else shown(default_of(field))
        row = [f"`{path}`", values(node, schema), default, cell(node.get("description", ""))]
        parts.append(f"| {' | '.join(row)} |")
    return "\n".join(parts) + "\n"


def find(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the schema of one key, by its path in the outline: `schemes.*.keys`, `routes[].match`."""
    places = [schema]
    for step in re.findall(r"[a-z_0-9]+|\*|\[\]", path):
        places = [below for place in places for below in stepped(resolved(place, schema), step)]
    if not places:
        raise KeyError(path)
    return places[0]


def stepped(places: list[dict[str, Any]], step: str) -> list[dict[str, Any]]:
    """Return what a step leads to: a key, any name, or the items of a list."""
    found = []
    for place in places:
        if step == "*":
            below = [*place.get("patternProperties", {}).values()]
            if isinstance(place.get("additionalProperties"), dict):
                below.append(place["additionalProperties"])
            found += below
        elif step == "[]":
            found += [place["items"]] if "items" in place else []
        elif step in place.get("properties", {}):
            found.append(place["properties"][step])
    return found


def resolved(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of a schema, references followed."""
    if "$ref" in node:
        return resolved(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    for name in ("anyOf", "oneOf"):
        if name in node:
            return [one for part in node[name] for one in resolved(part, schema)]
    return [node]


def values(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return in words what a key takes."""
    words = [word for one in resolved(node, schema) for word in word_of(one)]
    words = [word for word in dict.fromkeys(words) if word != WORDS[r"\$\{"]]
    return " or ".join(words) or "any"


def word_of(node: dict[str, Any]) -> list[str]:
    """Return the words for one alternative."""
    if "enum" in node:
        return [f"`{value}`" for value in node["enum"]]
    if "const" in node:
        return [f"`{node['const']}`"]
    if node.get("pattern") in WORDS:
        return [WORDS[node["pattern"]]]
    if set(node.get("properties", {})) == {"file"} and "title" not in node:
        return ["{file}"]
    names = {
        "object": "section",
        "array": "list",
        "string": "text",
        "integer": "number",
        "number": "number",
    }
    kind = node.get("type")
    if kind == "boolean":
        return ["`true`", "`false`"]
    return [names.get(kind, str(kind))] if isinstance(kind, str) else []


def shown(value: Any) -> str:
    """Return a default as the file would say it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def cell(text: str) -> str:
    """Return text as a cell of a table has it."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
