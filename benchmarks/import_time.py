"""Seconds that `import kcm_lightning` takes beyond `import torch`: the least of several processes. The budget
is 0.3 s."""

import subprocess
import sys

from benchmarks.timing import run_from_shell

CODE = (
    "import torch, time; start = time.perf_counter(); import kcm_lightning; "
    "print(time.perf_counter() - start)"
)


def measure(device: str, repeats: int) -> list[dict]:
    runs = [
        subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
        for _ in range(repeats)
    ]
    return [{"seconds_beyond_torch": min(float(run.stdout) for run in runs)}]


if __name__ == "__main__":
    run_from_shell(__doc__, 5, measure)
