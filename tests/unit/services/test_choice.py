from __future__ import annotations

import pytest

from proxy.config.models import Config
from proxy.services.choice import pick_jwt_scheme, pick_session_scheme

WEB = {"type": "session", "format": "native"}
API = {"type": "jwt", "keys": {"local": True}, "issuer": "i", "audience": ["a"]}


def config(**sections: object) -> Config:
    """Return a configuration without checks."""
    return Config.model_validate({"upstreams": {}, "routes": [], **sections})


def test_the_only_scheme_of_a_kind_needs_no_name():
    """One of each: picked; a name must be one of the kind."""
    found = config(schemes={"web": WEB, "api": API})
    assert "web" == pick_session_scheme(found, None)[0]
    assert "api" == pick_jwt_scheme(found, "api")[0]
    with pytest.raises(ValueError, match="no jwt scheme called web"):
        pick_jwt_scheme(found, "web")


def test_none_and_several_are_said():
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="has no native session scheme"):
        pick_session_scheme(config(), None)
    two = config(schemes={"a": WEB, "b": WEB})
    with pytest.raises(ValueError, match=r"several native session schemes \(a, b\)"):
        pick_session_scheme(two, None)
