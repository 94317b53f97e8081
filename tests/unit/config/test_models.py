from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config import models
from proxy.config.models import Config, JwtSchemeConfig, SessionSchemeConfig


def test_an_empty_configuration_is_valid_by_itself():
    """Every section has a default or is off; the checks say what is missing between them."""
    config = Config()

    assert ({}, {}, [], None, None) == (
        config.upstreams,
        config.schemes,
        config.routes,
        config.tokens,
        config.secrets,
    )


def test_schemes_are_told_apart_by_their_type():
    """The models of a scheme have different keys."""
    config = Config.model_validate(
        {
            "schemes": {
                "web": {"type": "session", "format": "native"},
                "api": {"type": "jwt", "keys": {"local": True}},
            }
        }
    )

    assert isinstance(config.schemes["web"], SessionSchemeConfig)
    assert isinstance(config.schemes["api"], JwtSchemeConfig)
    again = Config(schemes=config.schemes)
    assert again.schemes == config.schemes


def test_a_configuration_is_what_it_was_checked_as():
    """Nothing is assigned afterwards."""
    with pytest.raises(ValidationError):
        Config().routes = []


def test_every_model_is_under_this_roof():
    """What others import stands in the module's list."""
    for name in models.__all__:
        assert hasattr(models, name)
