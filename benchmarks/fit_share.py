"""Share of a `fit` that is spent outside forward pass, backward pass and optimizer: waiting for data,
augmentation, logging.

    python -m benchmarks.fit_share fit --config cifar_lt_cpu.yaml ...

takes the words of the command line and prints one JSON line an epoch. Validation does not count.
"""

import json
import sys
import time

import lightning as L

from kcm_lightning.cli import main
from kcm_lightning.module import KCMModule


class Shares(L.Callback):
    """Times the training batches of each epoch as a whole."""

    def __init__(self):
        self.start = self.first = 0.0

    def on_train_epoch_start(self, trainer, module) -> None:
        module.seconds_in_step = 0.0
        self.first = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        if batch_idx == 0:  # warms caches up, and compiles
            module.seconds_in_step, self.start = 0.0, time.perf_counter()

    def on_validation_start(self, trainer, module) -> None:
        if not trainer.sanity_checking:
            whole = time.perf_counter() - self.start
            row = {"epoch": trainer.current_epoch, "phase": "student" if module.distilling else "judge"}
            print(
                json.dumps(
                    row | {"share_outside": 1 - module.seconds_in_step / whole, "seconds": round(whole, 2)}
                ),
                flush=True,
            )


def timed(step):
    """An optimizer step, which holds forward and backward pass, with its seconds added up."""

    def optimizer_step(self, *args, **kwargs):
        start = time.perf_counter()
        step(self, *args, **kwargs)
        self.seconds_in_step += time.perf_counter() - start

    return optimizer_step


if __name__ == "__main__":
    KCMModule.optimizer_step = timed(KCMModule.optimizer_step)
    main([*sys.argv[1:], "--trainer.callbacks+=benchmarks.fit_share.Shares"])
