"""Caption scores against pycocoevalcap's published run, BLEU by hand, and over two processes."""

import json
import math
from collections import Counter, defaultdict

import pytest

from kcm_lightning.metrics.caption_scores import (
    CaptionScores,
    has_java,
    score_captions,
    score_tokenized,
    tokenize,
)
from kcm_lightning.utils.errors import InputError
from tests.two_processes import in_two_processes

needs_java = pytest.mark.skipif(not has_java(), reason="no Java")
CANDIDATES = ["A dog runs on the grass.", "two men, a ball", "the red bus stops"]
REFERENCES = [
    ["A brown dog is running over grass.", "a dog runs in the grass"],
    ["Two men play with a ball", "men and a ball!"],
    ["a red bus stops at the kerb", "The bus."],
]


@pytest.mark.slow
@needs_java
def test_gives_the_reference_scores(real_data):
    """Both systems at once: Java starts once, and the references are tokenized once."""
    folder = real_data / "captions_scoring"
    references = defaultdict(list)
    for row in json.loads((folder / "captions_karpathy_test.json").read_text())["annotations"]:
        references[row["image_id"]].append(row["caption"])
    said = {
        system: {
            row["image_id"]: row["caption"]
            for row in json.loads((folder / f"{system}_results.json").read_text())
        }
        for system in ("magic", "clip_retrieval")
    }
    images = list(said["magic"])
    captions = {system: [own[image] for image in images] for system, own in said.items()}
    found = score_tokenized(tokenize(captions, [references[image] for image in images]), meteor=True)
    published = json.loads((folder / "reference_scores.json").read_text())
    for system, scores in found.items():
        for name, value in published[system]["scores"].items():
            assert scores[name.replace("_", "-").replace("Bleu", "BLEU")] == pytest.approx(value, abs=5e-5), (
                system,
                name,
            )


def naive_bleu(candidates, references, longest):
    """Papineni et al. 2002 on word lists, the reference length nearest to the candidate's."""
    matched, total, length, wanted = [0] * longest, [0] * longest, 0, 0
    for candidate, own in zip(candidates, references, strict=True):
        length += len(candidate)
        wanted += min((abs(len(r) - len(candidate)), len(r)) for r in own)[1]
        for n in range(1, longest + 1):
            grams = Counter(tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1))
            most = Counter()
            for reference in own:
                most |= Counter(tuple(reference[i : i + n]) for i in range(len(reference) - n + 1))
            matched[n - 1] += sum((grams & most).values())
            total[n - 1] += sum(grams.values())
    precision = math.exp(sum(math.log(m / t) for m, t in zip(matched, total, strict=True)) / longest)
    return precision * min(1.0, math.exp(1 - wanted / length))


def words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def test_bleu_without_java_is_bleu_on_words():
    found = score_captions(CANDIDATES, REFERENCES, "words", meteor=False)
    for n in (1, 2):
        wanted = naive_bleu(
            [words(c) for c in CANDIDATES], [[words(r) for r in own] for own in REFERENCES], n
        )
        assert found[f"BLEU-{n}"] == pytest.approx(wanted, rel=1e-6)
    assert set(found) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"}


def test_a_perfect_caption_scores_one():
    found = score_captions([own[0] for own in REFERENCES], REFERENCES, "words", meteor=False)
    assert found["BLEU-4"] == pytest.approx(1, abs=1e-6) and found["ROUGE-L"] == pytest.approx(1)


def test_batches_add_up():
    metric = CaptionScores("words", meteor=False)
    metric.update(CANDIDATES[:2], REFERENCES[:2])
    metric.update(CANDIDATES[2:], REFERENCES[2:])
    assert metric.compute() == score_captions(CANDIDATES, REFERENCES, "words", meteor=False)


def test_two_processes_equal_one(tmp_path):
    def measure(rank: int) -> dict[str, float]:
        metric = CaptionScores("words", meteor=False)
        rows = [[0, 2], [1]][rank]  # ragged
        metric.update([CANDIDATES[i] for i in rows], [REFERENCES[i] for i in rows])
        return metric.compute()

    order = [0, 2, 1]
    wanted = score_captions(
        [CANDIDATES[i] for i in order], [REFERENCES[i] for i in order], "words", meteor=False
    )
    assert in_two_processes(measure, tmp_path) == [pytest.approx(wanted)] * 2


def test_missing_java_is_said_before_anything_is_scored(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="need Java"):
        CaptionScores()
    with pytest.raises(InputError, match="need Java"):
        score_captions(CANDIDATES, REFERENCES)
    assert score_captions(CANDIDATES, REFERENCES, "words", meteor=False)
    with pytest.raises(InputError, match="0 captions"):
        score_captions([], [])
