from __future__ import annotations

import pytest

from proxy.cli.new_file import write_new


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_new_file_is_written_whole(tmp_path):
    """In UTF-8, and nothing else is left in the directory."""
    write_new(tmp_path / "a", "ä\n")
    assert "ä\n" == (tmp_path / "a").read_text("utf-8")
    assert ["a"] == names(tmp_path)


def test_nothing_is_overwritten_unless_asked(tmp_path):
    """An existing file, a directory and a dangling link all have the name already."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "directory", "link"):
        with pytest.raises(FileExistsError):
            write_new(tmp_path / name, "new")
    assert "old" == (tmp_path / "file").read_text()
    assert ["directory", "file", "link"] == names(tmp_path)
    write_new(tmp_path / "file", "new", is_forced=True)
    assert "new" == (tmp_path / "file").read_text()


def test_a_failure_leaves_nothing_new_behind(tmp_path):
    """Neither half a file nor the reserved name; what was there stays."""
    with pytest.raises(UnicodeEncodeError):
        write_new(tmp_path / "a", "\ud800")
    (tmp_path / "b").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_new(tmp_path / "b", "\ud800", is_forced=True)
    assert ["b"] == names(tmp_path)
    assert "old" == (tmp_path / "b").read_text()
    with pytest.raises(FileNotFoundError):
        write_new(tmp_path / "no" / "a", "new")
