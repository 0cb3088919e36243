"""What TensorBoard has of a run after `fit`, `test` and `calibrate`, with the loggers that there may be."""

import csv
import json
import shlex
import time
import urllib.request

import pytest
from tensorboard import program
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.run_commands import kcm
from tests.tensorboard_tags import events_in, explained, unexplained

pytestmark = pytest.mark.slow
LOGGERS = "lightning.pytorch.loggers"


@pytest.fixture(scope="module")
def options(quickstart_with):
    return quickstart_with(
        "--model.compile=false",
        "--model.judge_phase.epochs=2",
        "--model.student_phase.epochs=2",
        "--trainer.enable_progress_bar=false",
    )


@pytest.fixture(scope="module")
def printed(folder, options) -> dict[str, str]:
    """What the commands of one run have printed."""
    config = "--config=runs/quickstart/0/config.yaml"
    said = {"fit": kcm(folder, "fit", *options), "test": kcm(folder, "test", config)}
    for target in ("lm_rate=0.6", "accuracy_drop=0.1"):
        said["calibrate"] = kcm(folder, "calibrate", config, f"--target={target}")
    calibrated = "--config=runs/quickstart/0/calibrated.yaml"
    said["second"] = kcm(folder, "test", config, calibrated, "--model.thresholds.judge=0.1234")
    return said


@pytest.fixture(scope="module")
def run(folder, printed):
    return folder / "runs" / "quickstart" / "0"


def test_every_scalar_is_explained_and_none_is_for_the_program_alone(run):
    tags = {kind: events_in(run).Tags()[kind] for kind in ("scalars", "images")}
    assert unexplained(tags["scalars"] + tags["images"]) == []
    assert not {"selection", "step"} & set(tags["scalars"])
    assert {"confidence", "reliability", "test/curve"} == set(tags["images"])
    assert len(explained()) == len(set(explained()))


def test_a_tag_that_nobody_explains_is_noticed():
    assert unexplained(["selection", "val/judge_overall", "val/group_0"]) == ["selection", "val/group_0"]


def test_each_epoch_has_shares_of_the_partition_and_the_gates_reliability(run):
    events = events_in(run)
    parts = [[event.value for event in events.Scalars(f"partition/x{part}")] for part in (1, 2, 3)]
    assert [sum(shares) for shares in zip(*parts, strict=True)] == pytest.approx([1, 1])
    assert len(events.Scalars("val/judge_calibration_error")) == 4
    assert len(events.Scalars("val/student_calibration_error")) == 2
    assert len(events.Images("reliability")) == len(events.Images("confidence")) == 2


def test_hp_metric_is_the_figure_of_the_best_checkpoint_beside_the_options(run):
    events = events_in(run)
    accuracy = [event.value for event in events.Scalars("val/student_overall")]
    found = [event.value for event in events.Scalars("hp_metric")]
    assert found[-1] == max(accuracy[2:])  # of a student, once there is one
    assert all(value in accuracy for value in found)
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    shown = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert shown["model.judge_phase.epochs"].number_value == 2
    assert shown["model.judge"].string_value == "CKAN"
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    columns = plugin_data_pb2.HParamsPluginData.FromString(content).experiment.metric_infos
    compared = {column.name.tag for column in columns}
    assert compared <= set(events.Tags()["scalars"]) and "test/kcm_overall" in compared


def test_one_layout_shows_judge_student_kcm_and_lm_rate(run):
    events = events_in(run)
    (event,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    (category,) = layout.category
    charts = [list(chart.multiline.tag) for chart in category.chart]
    assert charts[0] == ["val/judge_overall", "val/student_overall", "val/kcm_overall"]
    assert charts[1] == ["val/lm_rate_called"]
    assert {tag for chart in charts for tag in chart} <= set(events.Tags()["scalars"])


def test_figures_curve_and_table_of_the_test_are_there(run):
    for place in (run, next(run.glob("tests/*"))):
        events, found = events_in(place), json.loads((place / "results.json").read_text())
        for tag, value in (
            ("test/kcm_overall", found["accuracy"]["kcm"]["overall"]),
            ("test/teacher_tail", found["accuracy"]["teacher"]["tail"]),
            ("test/lm_rate_called", found["lm_rate"]["called"]),
            ("test/student_calibration_error", found["expected_calibration_error"]["student"]),
            ("test/kcm_minus_teacher_overall", found["kcm_against_teacher"]["difference"]),
        ):
            (event,) = events.Scalars(tag)
            assert event.value == pytest.approx(value, abs=1e-6)
        (event,) = events.Tensors("test/results/text_summary")
        assert event.tensor_proto.string_val[0].decode() == (place / "results.md").read_text()
        assert events.Images("test/curve")[0].width > 500


def test_each_calibration_has_its_thresholds_and_what_is_expected(run):
    events = events_in(run)
    for target in ("lm_rate=0.6", "accuracy_drop=0.1"):
        found = json.loads((run / f"calibrated-{target.replace('=', '-')}.json").read_text())
        (event,) = events.Scalars(f"calibrate/{target}/threshold_student")
        assert event.value == pytest.approx(found["thresholds"]["student"])
        expected = found["expected_on_unseen_data"]["lm_rate"]
        for end, name in (("", "mean"), ("_low", "low"), ("_high", "high")):
            assert events.Scalars(f"calibrate/{target}/lm_rate{end}")[0].value == pytest.approx(
                expected[name]
            )
        (event,) = events.Tensors(f"calibrate/{target}/text_summary")
        interval = f"{expected['low']:.4f} to {expected['high']:.4f}"
        assert interval in event.tensor_proto.string_val[0].decode()


def test_a_repeated_test_takes_the_place_of_the_one_before(folder, run):
    kcm(folder, "test", "--config=runs/quickstart/0/config.yaml")
    assert len(events_in(run).Scalars("test/kcm_overall")) == 1
    assert len(events_in(run).Scalars("train/judge_loss")) > 1


def runs_shown_by(command: str) -> list[str]:
    """Names of the runs that a command shows, asked of the server that it starts."""
    board = program.TensorBoard()
    board.configure(argv=[*shlex.split(command), "--port=0", "--load_fast=false", "--reload_interval=0"])
    url = board.launch()
    for _ in range(100):
        with urllib.request.urlopen(f"{url}data/runs") as reply:
            if names := json.load(reply):
                return names
        time.sleep(0.1)
    return []


def test_the_commands_show_the_run_by_its_name(folder, printed, options, monkeypatch):
    monkeypatch.chdir(folder)
    command = printed["fit"].split("TensorBoard: ")[1].splitlines()[0]
    names = runs_shown_by(command)
    assert "quickstart/0" in names and "." not in names
    assert any(
        name.startswith("quickstart/0/tests/accuracy_drop") or "judge-0.1234" in name for name in names
    )
    assert f"next: {command}" in printed["test"].splitlines()
    said = kcm(folder, "fit", *options, "--run=mine, really", "--model.student_phase.epochs=0")
    assert "mine, really" in runs_shown_by(said.split("TensorBoard: ")[1].splitlines()[0])


def test_several_loggers_each_get_what_they_take(folder, options):
    own = [
        f"--trainer.logger+={LOGGERS}.CSVLogger",
        "--trainer.logger.save_dir=logs",
        f"--trainer.logger+={LOGGERS}.TensorBoardLogger",
        "--trainer.logger.save_dir=boards",
    ]
    said = kcm(folder, "fit", *options, "--run=several", *own)
    (board,) = (folder / "boards").glob("*/*")
    assert f"--logdir_spec {board.name}:{board.relative_to(folder)}" in said
    events = events_in(board)
    assert unexplained(events.Tags()["scalars"]) == []
    assert min(event.value for event in events.Scalars("hp_metric")) >= 0
    with next((folder / "logs").glob("*/*/metrics.csv")).open() as file:
        columns = set(next(csv.reader(file)))
    assert {"val/judge_calibration_error", "partition/x1"} <= columns
    assert unexplained(columns - {"step"}) == [] and "hp_metric" not in columns
