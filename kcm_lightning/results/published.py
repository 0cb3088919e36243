"""What the paper's tables say, in per cent (Dai, Tang and Zhuang, tables 1 to 5)."""

BERT = {  # table 1: large, KCM, LM rate
    "Games": (90.39, 95.82, 84.02),
    "Kindle": (95.89, 95.68, 73.88),
    "Baby": (92.81, 94.45, 83.89),
    "Movies": (90.57, 93.82, 79.23),
    "Electronics": (91.76, 93.66, 82.12),
    "Office": (90.72, 94.83, 87.84),
}

CHAT = {  # table 2: large, KCM, LM rate
    "Games": (96.22, 96.02, 33.75),
    "Kindle": (95.65, 96.68, 34.80),
    "Baby": (96.41, 96.45, 25.66),
    "Movies": (93.42, 94.88, 28.79),
    "Electronics": (95.41, 95.76, 36.68),
    "Office": (95.45, 95.10, 33.24),
}

CIFAR_LT = {  # table 3: small, large, KCM
    "head": (70.25, 60.00, 71.54),
    "med": (48.21, 57.28, 59.20),
    "tail": (43.28, 57.19, 63.23),
    "overall": (53.25, 58.18, 64.66),
    "LM rate": (0.00, 100.00, 59.80),
}

COCO = {  # table 4: small, large, KCM; BLEU times 100
    "BLEU-1": (72.92, 73.27, 74.54),
    "BLEU-2": (55.73, 60.04, 60.89),
    "BLEU-3": (41.20, 46.99, 47.22),
    "BLEU-4": (30.28, 36.11, 36.42),
    "LM rate": (0.00, 100.00, 62.32),
}

MCM = {  # table 5: MCM, KCM
    "head": (70.99, 71.54),
    "med": (57.34, 59.20),
    "tail": (55.61, 63.23),
    "LM rate": (66.10, 59.80),
}


def kcm_on(data_set: str) -> dict[str, tuple[float, float]]:
    """LM rate and quality of the paper's KCM on a data set by measure, fractions; empty for other data.

    Args:
        data_set: its name.

    >>> kcm_on("cifar100")
    {'accuracy': (0.598, 0.6466)}
    """
    table, measures = {
        "cifar100": (CIFAR_LT, {"accuracy": "overall"}),
        "coco": (COCO, {"BLEU-4": "BLEU-4"}),
    }.get(data_set, ({}, {}))
    return {name: (table["LM rate"][2] / 100, table[row][2] / 100) for name, row in measures.items()}
