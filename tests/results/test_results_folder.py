"""Results of other options never overwrite the first ones."""

import json

from kcm_lightning.results.results_folder import results_folder

MODEL = {"class_path": "Model", "init_args": {"thresholds": {"judge": 0.9}, "cache": None}}
DATA = {"class_path": "Data", "init_args": {"root": "here", "predict_folder": None}}


def config(judge=0.9, limit=None, cache=None, predict_folder=None):
    model = {**MODEL, "init_args": {"thresholds": {"judge": judge}, "cache": cache}}
    data = {**DATA, "init_args": {"root": "here", "predict_folder": predict_folder}}
    return {"model": model, "data": data, "trainer": {"limit_test_batches": limit, "precision": "32-true"}}


def folder(run, options, command="test", **content):
    return results_folder(run, command=command, found={"config": options} | content)


def leave(path, options, name="results.json", **content):
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(json.dumps({"config": options} | content))


def test_the_first_results_and_those_of_the_same_options_are_the_run_s(tmp_path):
    assert folder(tmp_path, config()) == tmp_path
    leave(tmp_path, config())
    assert folder(tmp_path, config()) == tmp_path
    assert folder(tmp_path, config(cache="elsewhere")) == tmp_path  # changes no figure


def test_what_differs_names_a_folder_of_its_own(tmp_path):
    leave(tmp_path, config())
    others = [
        folder(tmp_path, config(judge=0.5)),
        folder(tmp_path, config(limit=1)),
        folder(tmp_path, config(judge=0.5, limit=1)),
        folder(tmp_path, config(), checkpoint="last.ckpt"),
    ]
    assert len({tmp_path, *others}) == 5
    assert all(other.parent == tmp_path / "tests" for other in others)
    assert others[0].name.startswith("judge-0.5-")
    assert others[0] == folder(tmp_path, config(judge=0.5))


def test_thresholds_of_calibrate_are_named_by_their_target(tmp_path):
    leave(tmp_path, config())
    chosen = {"calibrated": {"target": "lm_rate=0.5", "samples": 150}}
    assert folder(tmp_path, config(judge=0.5), **chosen).name.startswith("lm_rate-0.5-")


def test_results_of_other_content_are_kept_apart(tmp_path):
    def of(large="r18", test="aa", names="cc"):
        data = {"splits": {"test": {"sha256": test}}, "class_names": {"sha256": names}}
        return {"large_model_identity": large, "data": data, "checkpoint": "best.ckpt"}

    leave(tmp_path, config(), **of())
    assert folder(tmp_path, config(), **of()) == tmp_path
    others = [folder(tmp_path, config(), **of(**{part: "x"})) for part in ("large", "test", "names")]
    assert [other.name.split("-")[0] for other in others] == ["large_model", "test_split", "class_names"]
    foreign = {"checkpoint": "runs/1/checkpoints/best.ckpt", "checkpoint_sha256": "ab"}
    assert folder(tmp_path, config(), **of() | foreign) != tmp_path
    again = {"checkpoint": "best.ckpt", "checkpoint_sha256": "cd"}  # the run has been trained further
    assert folder(tmp_path, config(), **of() | again) == tmp_path


def test_what_earlier_versions_did_not_keep_is_no_difference(tmp_path):
    leave(tmp_path, config())
    assert folder(tmp_path, config(), large_model_identity="r18") == tmp_path


def test_a_part_of_the_samples_never_takes_the_place_of_all(tmp_path):
    part = folder(tmp_path, config(limit=1), samples=10)
    assert part.parent == tmp_path / "tests"  # also where it is the first test
    leave(part, config(limit=1), samples=10)
    assert folder(tmp_path, config(), samples=600) == tmp_path
    leave(tmp_path, config(), samples=600)
    assert folder(tmp_path, config(limit=1), samples=10) != folder(tmp_path, config(limit=1), samples=200)
    assert folder(tmp_path, config(), samples=590) != tmp_path


def test_numbers_that_look_alike_have_different_folders(tmp_path):
    leave(tmp_path, config())
    assert folder(tmp_path, config(judge=0.50001)) != folder(tmp_path, config(judge=0.50002))


def test_predictions_of_another_folder_are_kept_apart(tmp_path):
    leave(tmp_path, config(predict_folder="one/images"), "predict.json")
    assert folder(tmp_path, config(predict_folder="one/images"), "predict") == tmp_path
    other = folder(tmp_path, config(predict_folder="two/images"), "predict")
    assert other.parent == tmp_path / "predictions" and other.name.startswith("predict_folder-images-")


def test_a_damaged_file_of_results_is_made_anew(tmp_path):
    for text in ("{", "[" * 100_000, '{"config": {}}'):
        (tmp_path / "results.json").write_text(text)
        assert folder(tmp_path, config()) == tmp_path
