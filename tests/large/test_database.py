"""Files that several processes make at once."""

import pytest
import torch.multiprocessing as mp

from kcm_lightning.large.database import open_database


def _open(rank: int, folder, meet) -> None:
    for number in range(25):
        meet.wait()
        connection = open_database(folder / f"{number}.sqlite")
        connection.execute("CREATE TABLE IF NOT EXISTS rows (value INTEGER)")
        with connection:
            connection.execute("INSERT INTO rows VALUES (?)", [rank])


@pytest.mark.slow
def test_processes_that_make_a_file_at_once_wait_for_each_other(tmp_path):
    mp.spawn(_open, (tmp_path / "new", mp.get_context("spawn").Barrier(4)), nprocs=4)
    for path in (tmp_path / "new").glob("*.sqlite"):
        assert sorted(row[0] for row in open_database(path).execute("SELECT value FROM rows")) == [0, 1, 2, 3]
