"""The baseline that a small model for reviews has to beat: TF-IDF and logistic regression on the same splits.

python -m benchmarks.tfidf --root DATA --tokenizer FOLDER
"""

import argparse
import json
from statistics import mean

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kcm_lightning.data import APD
from kcm_lightning.data.reviews import CATEGORIES


def texts_and_labels(data: APD, split: str) -> tuple[list[str], list[int]]:
    positions = data.positions[split]
    return data.batches.texts(positions), data.batches.labels[positions].tolist()


def accuracy(train: APD, test: APD) -> float:
    """Of words and pairs of words, trained on one selection's training split and tested on another's test
    split."""
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1_000),
    )
    return model.fit(*texts_and_labels(train, "train")).score(*texts_and_labels(test, "test"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, help="folder with the review files")
    parser.add_argument("--tokenizer", default="bert-base-uncased")
    args = parser.parse_args()

    def load(category: str) -> APD:
        data = APD(args.root, category, tokenizer=args.tokenizer)
        data.setup()
        return data

    together = load("all")
    found = {}
    for category in CATEGORIES:
        own = load(category)
        found[category] = {"own_category": accuracy(own, own), "six_categories": accuracy(together, own)}
        print(json.dumps({category: found[category]}))
    print(
        json.dumps(
            {"mean": {kind: mean(values[kind] for values in found.values()) for kind in found["Baby"]}}
        )
    )


if __name__ == "__main__":
    main()
