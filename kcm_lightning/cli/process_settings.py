"""Settings of the process: memory and warnings."""

import ctypes
import logging
import warnings


def keep_freed_memory() -> None:
    """Tells glibc not to hand freed memory back to the system.

    A CPU training step otherwise spends a third of its time on page faults.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, top_pad, mmap_max = -1, -2, -4
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 256 * 2**20)
        libc.mallopt(mmap_max, 0)
    except OSError:
        pass  # another C library


def silence_noise() -> None:
    """Silences Lightning's advertisements and warnings about what is meant to be."""
    quiet = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")
    for name in (*quiet, "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.WARNING if name in quiet else logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*in eval mode at the start.*",
        ".*smaller than the logging interval.*",
        ".*LeafSpec.* is deprecated.*",
        ".*callbacks used to create the checkpoint need to be provided.*",
        ".*It is recommended to use .*sync_dist=True.*",  # metrics are of all processes already
        ".*Checkpoint directory .* exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", message=message)
