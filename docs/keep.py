"""Keeps the results of a sweep in the repository: `python docs/keep.py runs/SWEEP ...` copies them to
docs/results/SWEEP.

Further tests of a run, with other thresholds, are kept too. What is kept there of other variants and seeds
stays: a part of a sweep may be done elsewhere.
"""

import shutil
import sys
from pathlib import Path

for folder in map(Path, sys.argv[1:]):
    files = sorted([*folder.glob("*/*/results.json"), *folder.glob("*/*/tests/*/results.json")])
    if not files:
        sys.exit(f"{folder} holds no <variant>/<seed>/results.json")
    for file in files:
        kept = Path(__file__).parent / "results" / folder.name / file.relative_to(folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, kept)
        print(kept)
