"""The answer cache: nothing twice, nothing stale, nothing lost, nothing believed that is damaged."""

import shutil
import sqlite3
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import ImageClassifier, LargeClassifier, with_cache
from kcm_lightning.large.answer_cache import CachedClassifier
from kcm_lightning.utils.errors import InputError

CPU = torch.device("cpu")


class Counting(LargeClassifier):
    """A large model that counts the rows it is asked about; its answer depends on input and, in tenths, on
    the hint."""

    uses_hint = True

    def __init__(self, name: str = "counting"):
        self.name, self.rows = name, 0

    def load(self, class_names, device):
        pass

    @property
    def identity(self):
        return self.name

    def prompt_keys(self, query):
        if query.hint is None:
            return [b""] * len(query)
        return [bytes((row * 10).round().byte().tolist()) for row in query.hint]

    def distribution(self, query):
        self.rows += len(query)
        logits = query.inputs.float() + (0 if query.hint is None else (query.hint * 10).round())
        return logits.softmax(-1).unsqueeze(1)


def cached(folder, model, class_names=()):
    wrapped = CachedClassifier(model, str(folder))
    wrapped.load(list(class_names), CPU)
    return wrapped


def ask(wrapped, inputs, hint=None):
    return wrapped.distribution(Query(inputs, hint, torch.arange(len(inputs))))


def test_same_answers_and_nothing_asked_twice(tmp_path):
    inputs, samples = torch.randn(50, 4), torch.randperm(50)
    model = Counting()
    wrapped = cached(tmp_path, model)
    expected = Counting().distribution(Query(inputs))
    torch.testing.assert_close(wrapped.distribution(Query(inputs, None, samples)), expected)
    mixed = torch.randperm(50)
    torch.testing.assert_close(
        wrapped.distribution(Query(inputs[mixed], None, samples[mixed])), expected[mixed]
    )
    assert model.rows == 50
    again = Counting()
    torch.testing.assert_close(cached(tmp_path, again).distribution(Query(inputs, None, samples)), expected)
    assert again.rows == 0


def test_only_missing_rows_are_asked_and_in_their_places(tmp_path):
    inputs = torch.randn(10, 4)
    model = Counting()
    wrapped = cached(tmp_path, model)
    wrapped.distribution(Query(inputs[:6:2], None, torch.tensor([0, 2, 4])))
    torch.testing.assert_close(
        wrapped.distribution(Query(inputs, None, torch.arange(10))), Counting().distribution(Query(inputs))
    )
    assert model.rows == 10


def test_key_is_model_class_names_prompt_and_input(tmp_path):
    inputs, samples, hint = torch.randn(5, 4), torch.arange(5), torch.rand(5, 4)
    model = Counting()
    wrapped = cached(tmp_path, model)
    for asked in (None, hint, hint + 0.2):
        expected = Counting().distribution(Query(inputs, asked))
        torch.testing.assert_close(wrapped.distribution(Query(inputs, asked, samples)), expected)
        torch.testing.assert_close(wrapped.distribution(Query(inputs, asked, samples)), expected)
    assert model.rows == 15
    for other in (cached(tmp_path, Counting("other")), cached(tmp_path, Counting(), ["other", "classes"])):
        other.distribution(Query(inputs, None, samples))
        assert other.model.rows == 5
    wrapped.distribution(Query(inputs))  # a user's own inputs are of no data set, and are not kept
    assert model.rows == 20


@pytest.mark.slow
def test_killed_process_loses_nothing_that_it_had_used(tmp_path):
    code = (
        "import os, sys, torch; sys.path.insert(0, sys.argv[2]);"
        "from test_answer_cache import Counting, Query, cached; w = cached(sys.argv[1], Counting());"
        "w.distribution(Query(torch.eye(7), None, torch.arange(7))); os._exit(9)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(__file__).rsplit("/", 1)[0]], check=False
    )
    assert run.returncode == 9
    model = Counting()
    more = torch.cat([torch.eye(7), torch.ones(1, 7)])
    cached(tmp_path, model).distribution(Query(more, None, torch.arange(8)))
    assert model.rows == 1


def test_many_samples_and_no_pickle(tmp_path):
    inputs = torch.randn(40_000, 3)
    model = Counting()
    wrapped = cached(tmp_path, model)
    wrapped.distribution(Query(inputs, None, torch.arange(40_000)))
    torch.testing.assert_close(
        wrapped.distribution(Query(inputs, None, torch.arange(40_000))),
        Counting().distribution(Query(inputs)),
    )
    assert (tmp_path / "answers.sqlite").read_bytes()[:15] == b"SQLite format 3"


def test_other_data_under_the_same_sample_ids_are_asked_about(tmp_path):
    """The data set's name does not tell data apart: what is in it does."""
    inputs = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8).float().flatten(1)
    ask(cached(tmp_path, Counting()), inputs)
    changed = inputs.clone()
    changed[7, 5] += 1  # one value of one image
    model = Counting()
    torch.testing.assert_close(ask(cached(tmp_path, model), changed), Counting().distribution(Query(changed)))
    assert model.rows == 1
    ask(cached(tmp_path, model), changed.flip(0))  # other ids, the same images
    assert model.rows == 1


def test_equal_questions_are_asked_once(tmp_path):
    model, inputs = Counting(), torch.eye(3)[[0, 1, 0, 2, 1, 0]]
    torch.testing.assert_close(ask(cached(tmp_path, model), inputs), Counting().distribution(Query(inputs)))
    assert model.rows == 3


def test_another_class_order_is_another_question(tmp_path, tiny_classifier):
    folder = str(tiny_classifier(3, ["cat", "lawn_mower", "dog"]))
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    orders = (["cat", "lawn mower", "dog"], ["dog", "cat", "lawn mower"])
    found = [ask(cached(tmp_path, ImageClassifier(folder), names), images) for names in orders]
    torch.testing.assert_close(found[1], found[0][..., [2, 0, 1]])
    one = cached(tmp_path, ImageClassifier(folder), orders[0])  # and the same object, loaded again
    one.load(orders[1], CPU)
    torch.testing.assert_close(ask(one, images), found[1])


def weights_changed(folder):
    path = next(folder.glob("*.safetensors"))
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("weight"))
    weights[name].view(-1)[0] += 1
    save_file(weights, path, metadata={"format": "pt"})


def sharded_and_changed(folder):
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="4KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    weights_changed(folder)


def processor_changed(folder):
    from transformers import ViTImageProcessor

    ViTImageProcessor(size={"height": 24, "width": 24}).save_pretrained(folder)


@pytest.mark.parametrize("change", [weights_changed, sharded_and_changed, processor_changed])
def test_another_model_in_the_same_folder_is_asked(change, tmp_path, tiny_classifier):
    names, folder = ["cat", "owl", "dog"], tmp_path / "model"
    shutil.copytree(tiny_classifier(3, names), folder)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    before = ask(cached(tmp_path, ImageClassifier(str(folder)), names), images)
    change(folder)
    bare = ImageClassifier(str(folder))
    bare.load(names, CPU)
    found = ask(cached(tmp_path, ImageClassifier(str(folder)), names), images)
    torch.testing.assert_close(found, bare.distribution(Query(images)))
    assert not torch.equal(found, before)


def test_the_same_model_elsewhere_is_not_asked_again(tmp_path, tiny_classifier):
    names, images = ["cat", "owl", "dog"], torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    for place in ("one", "other"):
        shutil.copytree(tiny_classifier(3, names), tmp_path / place)
        wrapped = cached(tmp_path, ImageClassifier(str(tmp_path / place)), names)
        ask(wrapped, images)
    assert rows_of(tmp_path) == 1


def test_what_answers_otherwise_has_another_identity(tiny_classifier):
    def identity(**options):
        model = ImageClassifier(str(tiny_classifier(3)), **options)
        model.load(["a", "b", "c"], CPU)
        return model.identity

    assert len({identity(), identity(precision="bfloat16"), identity(labels="by_position")}) == 3
    assert identity() == identity()


class WithoutKeys(Counting):
    """As a user may write it: it uses the hint and does not say what of it."""

    prompt_keys = LargeClassifier.prompt_keys


def test_an_own_model_that_says_nothing_of_its_prompts_is_asked_for_every_hint(tmp_path):
    inputs, hint = torch.randn(5, 4), torch.rand(5, 4)
    model = WithoutKeys()
    wrapped = cached(tmp_path, model)
    for asked in (None, hint, 1 - hint, hint):
        torch.testing.assert_close(ask(wrapped, inputs, asked), Counting().distribution(Query(inputs, asked)))
    assert model.rows == 15


def execute(folder, statement):
    connection = sqlite3.connect(folder / "answers.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()


def rows_of(folder):
    return sqlite3.connect(folder / "answers.sqlite").execute("SELECT count(*) FROM answers").fetchone()[0]


CHOSEN = "input = (SELECT input FROM answers LIMIT 1)"
DAMAGE = [
    "value = substr(value, 1, 4) || X'3F' || substr(value, 6)",  # other bits
    "value = substr(value, 1, 10)",
    "value = X''",
    "value = value || value",
    "value = NULL",
    "value = 7",
    "value = 'words'",
    "value = CAST(X'FF80' AS TEXT)",
    "checksum = checksum + 1",
    "checksum = NULL",
    "prompt = X'00'",
    "prompt = 'words'",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_answer_is_said_counted_and_asked_again(damage, tmp_path):
    inputs = torch.arange(20.0).reshape(5, 4)
    ask(cached(tmp_path, Counting()), inputs)
    execute(tmp_path, f"UPDATE answers SET {damage} WHERE {CHOSEN}")
    model = Counting()
    wrapped = cached(tmp_path, model)
    with pytest.warns(
        UserWarning, match=r"1 of the answers in .*answers\.sqlite were damaged: they are asked"
    ):
        found = ask(wrapped, inputs)
    torch.testing.assert_close(found, Counting().distribution(Query(inputs)))
    assert model.rows == 1 and wrapped.usage() == {"this_command": {"damaged_answers_asked_again": 1}}
    again = cached(tmp_path, Counting())  # it is whole again
    torch.testing.assert_close(ask(again, inputs), found)
    assert again.model.rows == 0 and again.usage() == {} and rows_of(tmp_path) == 5


def test_two_answers_that_have_changed_places_are_found_out(tmp_path):
    inputs = torch.randn(2, 4)
    ask(cached(tmp_path, Counting()), inputs)
    connection = sqlite3.connect(tmp_path / "answers.sqlite")
    (one, *mine), (other, *its) = connection.execute("SELECT input, value, checksum FROM answers").fetchall()
    with connection:
        change = "UPDATE answers SET value = ?, checksum = ? WHERE input = ?"
        connection.executemany(change, [(*its, one), (*mine, other)])
    connection.close()
    model = Counting()
    with pytest.warns(UserWarning, match="2 of the answers"):
        torch.testing.assert_close(
            ask(cached(tmp_path, model), inputs), Counting().distribution(Query(inputs))
        )
    assert model.rows == 2


class Paid(Counting):
    """As Counting, for money."""

    paid = True


def test_damage_stops_before_a_paid_model_is_asked_again(tmp_path):
    inputs = torch.randn(5, 4)
    ask(cached(tmp_path, Paid()), inputs)
    execute(tmp_path, f"UPDATE answers SET value = X'00' WHERE {CHOSEN}")
    model = Paid()
    with pytest.raises(InputError, match=r"1 of the answers .* damaged .* the same command asks, and pays"):
        ask(cached(tmp_path, model), inputs)
    assert model.rows == 0
    ask(cached(tmp_path, model), inputs)
    assert model.rows == 1


def former_version(folder):
    folder.mkdir(exist_ok=True)
    connection = sqlite3.connect(folder / "answers.sqlite")
    with connection:
        connection.execute(
            "CREATE TABLE distributions (model TEXT, sample INTEGER, prompt BLOB, positions INTEGER, "
            "value BLOB, PRIMARY KEY (model, sample, prompt)) WITHOUT ROWID"
        )
        connection.execute(
            "INSERT INTO distributions VALUES ('counting data', 0, X'', 1, X'0000803F00000000')"
        )
    connection.close()


def test_answers_of_earlier_versions_are_left_alone_and_said(tmp_path):
    former_version(tmp_path)
    model = Counting()
    with pytest.warns(UserWarning, match="1 answers of an earlier version.*asked anew"):
        ask(cached(tmp_path, model), torch.randn(1, 2))
    assert model.rows == 1
    with pytest.raises(InputError, match=r"1 answers of an earlier version.*the large model is paid"):
        cached(tmp_path, Paid())
    kept = sqlite3.connect(tmp_path / "answers.sqlite").execute("SELECT count(*) FROM distributions")
    assert kept.fetchone() == (1,)


def test_answers_without_a_shape_name_the_own_model(tmp_path):
    class Flat(Counting):
        def distribution(self, query):
            return super().distribution(query).squeeze(1)

    with pytest.raises(InputError, match=r"Flat\.distribution returned the shape \(3, 4\) for 3 samples"):
        ask(cached(tmp_path, Flat()), torch.randn(3, 4))


def test_an_identity_that_means_two_models_is_named(tmp_path):
    inputs = torch.randn(2, 4)
    ask(cached(tmp_path, Counting()), inputs[:1])

    class Wider(Counting):
        def distribution(self, query):
            return torch.zeros(len(query), 1, 9)

    with pytest.raises(InputError, match="`identity` of Wider"):
        ask(cached(tmp_path, Wider()), inputs)


def test_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--model\.cache.*file"):
        CachedClassifier(Counting(), str(tmp_path / "file"))


def test_a_folder_that_is_no_path_is_one_line(tiny_classifier):
    """YAML can hold a NUL, which no path has."""
    for folder in ("a\0b", "\ud800"):
        with pytest.raises(
            InputError, match=r"--model\.cache: .* holds a character that no path has"
        ) as found:
            with_cache(ImageClassifier(str(tiny_classifier(3))), folder)
        assert "\n" not in str(found.value)
