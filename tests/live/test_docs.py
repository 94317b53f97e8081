"""README.md and docs/: what they show is run for real, and each configuration in them loads."""

from __future__ import annotations

import json
import re
import shutil
from xml.etree import ElementTree as ET

import pytest
from cryptography.x509 import DNSName
from ruamel.yaml import YAML

from proxy.codes import CODES
from proxy.run.loading import load
from tests.certificates import Authority
from tests.reader import NOT_RUN, ROOT, SAVED, blocks
from tests.token_workshop import pem

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
GUIDES = [name for name in PAGES if name.startswith("docs/guides/")]
WALKED = ["README.md", "docs/tokens.md", *GUIDES]
PICTURES = sorted((ROOT / "docs" / "pictures").iterdir())
PART = "part of "
NO_CONFIGURATION = "no configuration: "
SHOWN_ELSEWHERE = {
    # tests/live/test_getting_started.py
    "docs/getting-started.md",
    # Commands that have no output on the page: `test_the_commands_of_an_operator_end_well`.
    "docs/admin.md",
    "docs/operations.md",
    "docs/sessions.md",
    # Commands for other machines: tests/unit/test_operations_page.py knows them, tests/container the files.
    "docs/deploy.md",
    "docs/kubernetes.md",
    "docs/two-gates.md",  # tests/live/test_two_gates.py
    "docs/upgrade.md",
    "docs/reload.md",  # tests/live/processes/test_reload.py
}
KINDS = {"sh", "text", "yaml", "json", "js", "console", "ctrl-c"}
CONFIGURATIONS = [
    pytest.param(block, id=f"{name}-{number}")
    for name, page in PAGES.items()
    for number, block in enumerate(blocks(page))
    if block.kind == "yaml" and not block.note.startswith(NO_CONFIGURATION)
]


def completed(block):
    """Return the whole configuration that a block is, or is a part of."""
    if not block.note.startswith(PART):
        return block.text
    yaml = YAML(typ="safe", pure=True)
    whole = yaml.load((ROOT / block.note.removeprefix(PART)).read_text())
    return json.dumps(whole | yaml.load(block.text))  # JSON is YAML


@pytest.mark.parametrize("block", CONFIGURATIONS)
def test_every_configuration_loads(block, tmp_path):
    """A block of YAML is a configuration without a mistake, and its policy tests pass."""
    (tmp_path / "partner.pem").write_bytes(pem("Ed25519"))
    (tmp_path / "report.secret").write_text("s" * 32)
    (tmp_path / "users.yaml").write_text("users: {}")
    (tmp_path / "app.secret").write_text("s" * 32)
    (tmp_path / "laravel.key").write_text("base64:" + "A" * 43 + "=")
    authority = Authority(tmp_path, "clients")
    authority.issue("gate", "gate", DNSName("shop.example.com"))
    authority.issue("second", "second", DNSName("*.partner.example.com"))
    file = tmp_path / "latchgate.yaml"
    file.write_text(completed(block))

    assert () == load(file).warnings


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_has_one_configuration_with_its_policy_tests(name):
    """The file that the guide saves says itself what must stay true of it."""
    (block,) = [block for block in blocks(PAGES[name]) if block.note == SAVED]
    tests = YAML(typ="safe", pure=True).load(block.text)["tests"]
    outcomes = {test["expect"] for test in tests}

    assert "forward" in outcomes
    assert len(outcomes) >= 3


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages' commands need curl")
@pytest.mark.parametrize("name", WALKED)
def test_every_command_of_the_page_does_what_it_says(reader, name):
    """In order, in one directory, against a gate that runs the page's own configuration."""
    outputs = [block for block in blocks(PAGES[name]) if block.kind == "text"]

    assert len(outputs) >= 3
    assert len(outputs) == reader.follow(PAGES[name])


OPERATED = """
upstreams: {app: {servers: ["http://127.0.0.1:9001"]}}
schemes: {web: {type: session, format: native, cookie: sid}}
tokens: {issuer: "https://shop.example.com", audience: shop}
login: {path: /_auth, scheme: web, users: {file: users.yaml}}
admin: {listen: "unix:var/admin.sock"}
routes: [{match: {path: /**}, auth: web, upstream: app}]
"""
OPERATORS = ["docs/admin.md", "docs/operations.md", "docs/sessions.md"]
ENDS = {"latchgate explain GET https://shop.example.com/account": 1}
"""Nobody is signed in there, and that is what it says."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages' commands need curl")
@pytest.mark.parametrize("name", OPERATORS)
def test_the_commands_of_an_operator_end_well(reader, name):
    """Each line of the page, on a gate with somebody signed in; those that go on for ever are cut off."""
    (reader.directory / "users.yaml").write_text("users: {}")
    (reader.directory / "var").mkdir()
    reader.save(OPERATED)
    app = reader.ports["9001"]
    reader.start(f"python -m http.server --bind 127.0.0.1 {app}", "Serving HTTP")
    reader.start("latchgate serve", "all workers are ready")
    lines = [
        line.partition("  #")[0].strip()
        for block in blocks(PAGES[name])
        if block.kind == "sh"
        for line in block.text.splitlines()
    ]
    new = "latchgate session new --subject ada --json"
    of_it = "python -c 'import json, sys; print(json.load(sys.stdin)[\"id\"])'"
    is_signed_in = False
    for line in lines:
        if not is_signed_in:
            reader.paste(f"ID=$({new} | {of_it})")
        is_signed_in = not re.search(r"revoke|DELETE", line)
        is_endless = "--follow" in line
        told = reader.paste(f"{'timeout -s INT 3 ' * is_endless}{line} </dev/null; echo status=$?")
        status = int(told.rpartition("status=")[2].split()[0])
        allowed = {0, 124} if is_endless else {ENDS.get(line, 0)}
        assert status in allowed, f"{line}\n{told}"


def test_no_command_is_left_out():
    """Commands stand on pages that are walked; what is not run there says why."""
    found = [(name, block) for name, page in PAGES.items() for block in blocks(page)]
    elsewhere = {name for name, block in found if block.kind == "sh"} - {*WALKED}
    skipped = [(name, block.text.split()[0]) for name, block in found
               if name in WALKED and block.note.startswith(NOT_RUN)]  # fmt: skip

    assert elsewhere == SHOWN_ELSEWHERE
    assert [("README.md", program) for program in ("make", "python3", "docker")] == skipped
    assert {block.kind for _, block in found} <= KINDS


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("README.md", "- **A path that leads to another policy in another reading is 400**"),
        ("docs/guides/traditional-web-site.md", "- **Other spellings of a guarded path**"),
    ],
)
def test_the_odd_paths_of_a_page_fare_as_it_says(name, begin, tmp_path):
    """They fit the page's own configuration: 400 where it says so, and let through where it says that."""
    claim = PAGES[name].partition(begin)[2].partition("\n- ")[0]
    refused, _, passing = claim.partition("Where every reading")
    expected = [(path, "path_ambiguous") for path in re.findall(r"`(/.+?)`", refused)]
    expected += [(path, "forward") for path in re.findall(r"`(/.+?)`", passing)]
    (block,) = [block for block in blocks(PAGES[name]) if block.note == SAVED]
    whole = YAML(typ="safe", pure=True).load(block.text)
    whole["tests"] = [
        {"request": f"GET {path}", "as": {"scheme": "web"}, "expect": answer}
        for path, answer in expected
    ]
    file = tmp_path / "latchgate.yaml"
    file.write_text(json.dumps(whole))

    assert len(expected) >= 3
    assert len(expected) == len(load(file).config.tests)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    """Links within the repository name a file, and a heading that is there."""
    here = (ROOT / name).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (here / path).resolve() if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text()), target


def anchors(text):
    """Return the anchors that a page's headings get where it is read."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_found():
    """The index names each page, and README leads to the index."""
    index = PAGES["docs/README.md"]
    named = {f"docs/{target}" for target in re.findall(r"\]\(([\w/-]+\.md)\)", index)}

    assert {name for name in PAGES if name.startswith("docs/")} - {"docs/README.md"} == named
    assert "](docs/README.md)" in PAGES["README.md"]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_stands_alone_and_is_shown(picture):
    """It has a title, two sets of colours, nothing that runs and nothing from elsewhere."""
    text = picture.read_text()
    tree = ET.fromstring(text)  # noqa: S314 - a file of this repository
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}

    assert {"title", "style"} <= tags
    assert not tags & {"script", "image", "use", "foreignObject"}
    assert "prefers-color-scheme: dark" in text
    assert any(f"](pictures/{picture.name})" in page for page in PAGES.values())


def test_the_codes_that_pages_show_exist():
    """Whatever a page prints as `"code"` is a code of the gate's."""
    shown = {code for page in PAGES.values() for code in re.findall(r'"code": "(\w+)"', page)}

    assert shown <= set(CODES)
