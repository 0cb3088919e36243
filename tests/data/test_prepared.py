"""Folders that are written whole, by several at once."""

import os
import time

from kcm_lightning.data.prepared import written_whole


def test_who_is_slower_loses_nothing_and_hurts_nobody(tmp_path):
    folder = tmp_path / "store"
    with written_whole(folder) as slow:
        (slow / "a").write_text("slow")
        with written_whole(folder) as fast:
            (fast / "a").write_text("fast")
        assert (slow / "a").is_file()  # not swept away
    assert (folder / "a").read_text() == "fast" and [path.name for path in tmp_path.iterdir()] == ["store"]


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path):
    old, new = tmp_path / ".store.old", tmp_path / ".store.new"
    for left in (old, new):
        left.mkdir()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    with written_whole(tmp_path / "store"):
        pass
    assert not old.exists() and new.exists()
