from __future__ import annotations

import stat
import tempfile

import pytest
import typer

from proxy.cli.scratch import scratch_directory


def test_it_is_private_and_goes_with_the_command(monkeypatch, tmp_path):
    """Whatever is left in it goes too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_directory() as directory:
        (directory / "a").write_text("")
        assert 0o700 == stat.S_IMODE(directory.stat().st_mode)

    assert [] == list(tmp_path.iterdir())


def test_where_none_can_be_made_the_command_says_so(monkeypatch, tmp_path, capsys):
    """Status 2 and the reason, instead of a traceback."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(typer.Exit) as ended, scratch_directory():
        pass

    assert 2 == ended.value.exit_code
    assert "there is no temporary directory: No such file" in capsys.readouterr().err
