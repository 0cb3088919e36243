"""A sample is known by its content, whatever its name, its place and the data around it."""

import hashlib
import itertools
import json

import pytest
import torch

from kcm_lightning.data import APD, MSCOCO, DigitsLT
from kcm_lightning.data.contents import content_id, content_ids, digest
from kcm_lightning.data.images import LongTailedImages
from tests.data.caption_data import write as write_captions
from tests.data.review_files import rows
from tests.data.review_files import write as write_reviews


class Own(LongTailedImages):
    """Images that a test fills in."""

    mean, std, name = (0.5,) * 3, (0.25,) * 3, "own"

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, **positions: torch.Tensor):
        super().__init__(
            batch_size=4,
            eval_batch_size=4,
            distill_split="train",
            distill_balance=0.0,
            crop=0,
            flip=False,
            cutout=0,
            rand_augment=0,
        )
        self.given = images, labels, positions

    def read(self) -> None:
        self.images, self.labels, self.positions = self.given
        self.class_names = ["a", "b"]


def own(images: torch.Tensor, labels: torch.Tensor, train: int, val: int) -> Own:
    places = torch.arange(len(images))
    data = Own(images, labels, train=places[:train], val=places[train:val], test=places[val:])
    data.setup()
    return data


def test_hashes_are_of_values_type_and_shape():
    one = torch.arange(12, dtype=torch.uint8)
    different = [one, one.flip(0), one.view(3, 4), one.view(4, 3), one.int(), one.view(3, 4).T, "0", "1"]
    ids = content_ids(different).tolist()
    assert len(set(ids)) == len(ids) and all(0 <= number < 2**63 for number in ids)
    assert content_ids([one.clone(), one.view(4, 3).contiguous()]).tolist() == [ids[0], ids[3]]
    expected = hashlib.blake2b("caf\u00e9".encode(), digest_size=8).digest()
    assert (
        content_ids(["caf\u00e9"]).item() == content_id("caf\u00e9".encode()) == int.from_bytes(expected) >> 1
    )


def test_a_digest_is_of_the_samples_in_any_order():
    ids, labels = torch.tensor([5, 5, 3, 9]), torch.tensor([1, 0, 1, 1])
    found = {digest(ids[list(order)], labels[list(order)]) for order in itertools.permutations(range(4))}
    assert len(found) == 1
    changed = [digest(ids, labels.flip(0)), digest(ids[:3], labels[:3]), digest(ids), digest(labels, ids)]
    assert len({*found, *changed}) == 5


def test_images_that_moved_are_known_and_counted():
    """Data that grew at the front between fit and test: 190 of 600 test samples had been trained on."""
    images = torch.randint(
        0, 256, (40, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.arange(40) % 2
    before = own(images[10:], labels[10:], train=20, val=25)
    grown = own(images, labels, train=20, val=24)  # of the old training images, 6 are now in the test split
    seen = torch.isin(grown.contents("test"), before.contents("train"))
    assert seen.tolist() == [True] * 6 + [False] * 10
    assert torch.equal(before.contents("train")[:10], grown.contents("train")[10:])
    assert before.fingerprint()["train"]["sha256"] != grown.fingerprint()["train"]["sha256"]


def test_one_flipped_bit_or_label_is_other_data():
    images, labels = (
        torch.arange(20 * 48).remainder(256).to(torch.uint8).view(20, 3, 4, 4),
        torch.arange(20) % 2,
    )
    first = own(images, labels, train=10, val=15).fingerprint()
    flipped, relabeled = images.clone(), labels.clone()
    flipped[17, 2, 3, 3] ^= 1
    relabeled[17] ^= 1
    for now in (own(flipped, labels, 10, 15), own(images, relabeled, 10, 15)):
        found = now.fingerprint()
        assert found["test"]["sha256"] != first["test"]["sha256"] and found["train"] == first["train"]
    assert first == own(images.clone(), labels, 10, 15).fingerprint()
    assert first["train"]["samples"] == 10


def test_digits_have_the_fingerprint_of_the_published_results():
    data = DigitsLT()
    data.setup()
    split = data.positions["test"]
    expected = hashlib.sha256(data.images[split].numpy().tobytes() + data.labels[split].numpy().tobytes())
    assert data.fingerprint()["test"] == {"samples": 600, "sha256": expected.hexdigest()[:16]}
    assert data.contents("test").tolist() == content_ids(data.images[split]).tolist()


def test_reviews_are_known_by_their_text(tmp_path, word_tokenizer):
    def read(name: str, reviews: list[dict]) -> APD:
        write_reviews(tmp_path / name / "reviews_Baby_5.json.gz", reviews)
        data = APD(str(tmp_path / name), "Baby", tokenizer=str(word_tokenizer), prepared=str(tmp_path / "p"))
        data.setup()
        return data

    for name in ("before", "grown"):
        (tmp_path / name).mkdir()
    before, grown = read("before", rows(300, seed=1)), read("grown", [*rows(200, seed=2), *rows(300, seed=1)])
    for split in ("train", "val", "test"):
        texts = grown.batches.texts(grown.positions[split])
        assert grown.contents(split).tolist() == content_ids(texts).tolist()
    assert torch.isin(before.contents("test"), torch.cat([grown.contents(s) for s in ("test", "val")])).any()
    assert not torch.isin(
        grown.contents("test"), before.contents("train")
    ).any()  # the split goes by the text


@pytest.fixture
def captions(tmp_path):
    def captions(name: str) -> MSCOCO:
        options = {"images": "images", "image_size": 16, "vocab_size": 18, "prepared": str(tmp_path / "p")}
        data = MSCOCO(str(tmp_path / name), "dataset_tiny.json", **options)
        data.setup()
        return data

    write_captions(tmp_path / "first")
    write_captions(tmp_path / "second")
    captions.root = tmp_path
    return captions


def test_captioned_images_are_known_by_their_files(captions):
    first, images = captions("first"), captions.root / "second" / "images"
    assert captions("second").fingerprint() == first.fingerprint()
    renamed = captions.root / "second" / "dataset_tiny.json"
    renamed.write_text(renamed.read_text().replace("050.jpg", "new.jpg"))
    (images / "050.jpg").rename(images / "new.jpg")
    assert captions("second").fingerprint() == first.fingerprint()
    (images / "new.jpg").write_bytes((images / "001.jpg").read_bytes())  # an image of the training split
    second = captions("second")
    assert second.fingerprint()["test"]["sha256"] != first.fingerprint()["test"]["sha256"]
    assert second.fingerprint()["train"] == first.fingerprint()["train"]
    assert torch.isin(second.contents("test"), first.contents("train")).sum() == 1


def test_another_caption_is_other_data(captions):
    first, file = captions("first"), captions.root / "second" / "dataset_tiny.json"
    content = json.loads(file.read_text())
    content["images"][-1]["sentences"][0]["raw"] = "A white wall is all there is!"
    file.write_text(json.dumps(content))
    second = captions("second").fingerprint()
    assert second["test"]["sha256"] != first.fingerprint()["test"]["sha256"]
    assert second["val"] == first.fingerprint()["val"]
