"""A slip in an option is one line that says what was meant."""

import pytest

from tests.run_commands import kcm

QUICKSTART = ("fit", "--config", "quickstart.yaml", "--print_config")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "--model.judge_phase.epoch=3",
            "no option --model.judge_phase.epoch; did you mean --model.judge_phase.epochs?",
        ),
        ("--model.judge_phase.epochs=ten", "--model.judge_phase.epochs: 'ten' is not a whole number"),
        ("--model.judge_phase.lr=fast", "--model.judge_phase.lr: 'fast' is not a number"),
        ("--modl.loss=plain", "no option --modl.loss; did you mean --model.loss?"),
        ("--model.init_args.los=plain", "no option --model.los; did you mean --model.loss?"),
        ("--trainer.max_epoch=3", "no option --trainer.max_epoch; did you mean --trainer.max_epochs?"),
        ("--model.loss=plainn", "--model.loss: 'plainn' is none of logit_adjusted, plain, balanced, tlc"),
        ("--data.imbalence=3", "no option --data.imbalence; did you mean --data.imbalance?"),
        ("--seed=3", "no option --seed; did you mean --seed_everything?"),
        ("--model.judge.widht=3", "no option --model.judge.widht; did you mean --model.judge.width?"),
        ("--model.judge=CKANN", "--model.judge: there is no class 'CKANN'; did you mean CKAN"),
        ("--data=Digits", "--data: there is no class 'Digits'; did you mean DigitsLT?"),
        ("--nothing_like_it=1", "there is no option --nothing_like_it"),
        ("extra", "unrecognized arguments: extra"),
    ],
)
def test_a_slip_says_what_was_meant(tmp_path, words, says):
    with pytest.raises(AssertionError) as stop:
        kcm(tmp_path, *QUICKSTART, words)
    error = str(stop.value).splitlines()[-1]
    assert error.startswith("error: ") and says in error, stop.value
    assert not list(tmp_path.iterdir())
