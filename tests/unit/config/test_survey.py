from __future__ import annotations

from proxy.config.document import read_document
from proxy.config.models import Config
from proxy.config.survey import Survey
from proxy.config.tree import Tree


def test_a_survey_knows_what_was_cut():
    """Paths are those of the configuration that is left, whatever stood before them in the file."""
    tree = Tree(read_document(b"routes: [{name: a}, {name: b, match: {path: x}}]\n", {}).root)
    tree.cut(("routes", 0))
    tree.cut(("routes", 1, "match", "path"))
    survey = Survey(Config(), tree)

    assert survey.is_whole("routes", 0, "name")
    assert not survey.is_whole("routes", 0, "match")
    assert not survey.is_whole("routes")


def test_a_survey_knows_the_names_of_definitions_that_are_wrong():
    """A reference to a definition with a mistake points somewhere; so may any, if all are lost."""
    tree = Tree(read_document(b"upstreams: {shop: 7}\nschemes: 8\n", {}).root)
    tree.cut(("upstreams", "shop"))
    tree.cut(("schemes",))
    survey = Survey(Config(), tree)

    assert survey.is_named("upstreams", "shop")
    assert not survey.is_named("upstreams", "shp")
    assert survey.is_named("schemes", "anything")
