"""What a computation takes: torch's own counter, a counted number of runs, made-up energy counters."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from kcm_lightning.utils.effort import _joules, effort_of


def test_flops_are_those_of_torchs_counter_and_by_hand():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(512, 4)
    )
    batch = torch.randn(5, 3, 8, 8)
    with FlopCounterMode(display=False) as counter:
        model(batch)
    found = effort_of(lambda: model(batch), samples=5)
    assert found.flops * 5 == counter.get_total_flops()
    assert found.flops == 2 * (8 * 8 * 8 * 27) + 2 * 512 * 4
    assert found.milliseconds > 0


def test_a_gru_is_counted_under_autocast_too():
    model, batch = torch.nn.GRU(6, 5, batch_first=True), torch.randn(2, 3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        found = effort_of(lambda: model(batch), samples=2)
    assert found.flops == 3 * (2 * 15 * 6 + 2 * 15 * 5)


def test_it_is_run_a_few_times_and_no_more():
    runs = []
    effort_of(lambda: runs.append(1), samples=1)
    assert 2 <= len(runs) <= 6


def test_energy_is_read_where_the_machine_tells_it(tmp_path):
    assert _joules(tmp_path) is None
    for package, value in (("0", 1_500_000), ("1", 500_000)):
        (tmp_path / f"intel-rapl:{package}").mkdir()
        (tmp_path / f"intel-rapl:{package}" / "energy_uj").write_text(f"{value}\n")
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of a package, counted there
    assert _joules(tmp_path) == 2.0
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("?")
    assert _joules(tmp_path) is None
