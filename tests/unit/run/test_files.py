"""Which files are looked at, and what counts as a change of them."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.tasks import spawn
from proxy.run import files
from proxy.run.files import FileWatch, own_file, watched_files
from proxy.services.runtime import load

CONFIG = """
reload: {{watch: {watch}}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  api: {{type: jwt, issuer: "https://id.test", audience: [a], algorithms: [EdDSA], keys: {{file: key.json}}, revocation: none, max_lifetime: 15m}}
routes: [{{match: {{path: /**}}, auth: api, upstream: app}}]
"""
KEY = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
"""The public key of RFC 8037, appendix A.2."""


@pytest.fixture
def loaded(tmp_path):
    """Return a function that loads a configuration with a key file."""

    def from_text(*, watch="false"):
        (tmp_path / "key.json").write_text(KEY)
        (tmp_path / "gate.yaml").write_text(CONFIG.format(watch=watch))
        return load(tmp_path / "gate.yaml")

    return from_text


def test_keys_are_always_looked_at_and_the_file_where_it_is_wanted(loaded, tmp_path):
    """`watch` is about the configuration itself."""
    own = tmp_path / "gate.yaml"
    assert {path.name for path in watched_files(loaded(), own)} == {"key.json"}
    both = loaded(watch="true")
    assert {path.name for path in watched_files(both, own)} == {"key.json", "gate.yaml"}
    assert own_file(both) == tmp_path / "gate.yaml"


@pytest.fixture
async def watched(loaded, monkeypatch):
    """Look often, and give the changes that were noticed."""
    monkeypatch.setattr(files, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(files, "AGAIN_S", 0.01)
    news, refusals = asyncio.Queue(), []
    news.refusals = refusals
    made = loaded(watch="true")
    watch = FileWatch(made)

    async def changed(paths):
        news.put_nowait({path.name for path in paths})
        return not refusals or refusals.pop()

    task = spawn(watch.run(changed), name="test")
    yield watch, made, news
    task.cancel()


async def test_a_change_is_told_once(watched, tmp_path):
    """Another content under the same name, and a link that leads elsewhere; and not again."""
    _, _, news = watched
    (tmp_path / "key.json").write_text(KEY + "\n")
    async with asyncio.timeout(5):
        assert await news.get() == {"key.json"}
    (tmp_path / "other.json").write_text(KEY)
    (tmp_path / "key.json").unlink()
    (tmp_path / "key.json").symlink_to("other.json")
    async with asyncio.timeout(5):
        assert await news.get() == {"key.json"}
    await asyncio.sleep(0.1)
    assert news.empty()


async def test_a_change_between_two_readings_is_not_missed(watched, tmp_path):
    """What changed while a configuration was read is a change all the same."""
    watch, made, news = watched
    seen = watch.look()
    (tmp_path / "gate.yaml").write_text("# later\n")
    watch.read(made, seen)
    async with asyncio.timeout(5):
        assert "gate.yaml" in await news.get()


async def test_what_could_not_be_taken_is_told_again(watched, tmp_path):
    """Until it is: a certificate that was renewed while a worker started would stay away else."""
    _, _, news = watched
    news.refusals.extend([False, False])
    (tmp_path / "key.json").write_text(KEY + "\n")
    async with asyncio.timeout(5):
        assert [await news.get() for _ in range(3)] == [{"key.json"}] * 3
    await asyncio.sleep(0.1)
    assert news.empty()


async def test_a_file_that_was_away_while_another_one_was_read_is_still_looked_at(
    watched, tmp_path
):
    """Who writes a file anew may take the old one away first."""
    watch, made, news = watched
    text = (tmp_path / "gate.yaml").read_bytes()
    (tmp_path / "gate.yaml").unlink()
    watch.read(made, watch.look())
    (tmp_path / "gate.yaml").write_bytes(text + b"# later\n")
    async with asyncio.timeout(5):
        assert await news.get() == {"gate.yaml"}
