"""Configurations stand before every other option, wherever they are given."""

from kcm_lightning.cli.configs import find_configs, shipped_configs


def test_the_order_of_options_never_matters(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("ckpt_path: null\n")
    shipped = str(shipped_configs() / "quickstart.yaml")
    wanted = ["fit", "--config", shipped, "--config", str(file), "--ckpt_path", "last", "--run=here"]
    spellings = [
        ["fit", "--config", "quickstart.yaml", "--config", str(file), "--ckpt_path", "last", "--run=here"],
        ["fit", "--ckpt_path", "last", "--config=quickstart.yaml", "--run=here", "-c", str(file)],
        ["fit", "--ckpt_path", "last", "--run=here", "--config", "quickstart.yaml", f"--config={file}"],
    ]
    for words in spellings:
        assert find_configs(words) == wanted


def test_a_missing_value_is_left_to_the_parser():
    assert find_configs(["fit", "--config"]) == ["fit", "--config"]
