"""Share of a training step that the batched augmentation takes: CKAN of cifar_lt_cpu.yaml, eager, bf16
autocast."""

import torch

from benchmarks.timing import medians, run_from_shell
from kcm_lightning.data import CIFAR100LT
from kcm_lightning.small import CKAN


def measure(device: str, repeats: int) -> list[dict]:
    torch.manual_seed(0)
    data, model = CIFAR100LT(), CKAN(100, width=80).to(device)
    large = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device=device)
    images = data.view({"large": large}, augment=True)["small"]

    def augment() -> None:
        data.view({"large": large}, augment=True)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss = model(images).float().square().mean()
        loss.backward()
        if device == "cuda":
            torch.cuda.synchronize()

    times = medians({"augment": augment, "step": step}, repeats)
    return [
        {
            "device": device,
            "augmentation_share_of_step": times["augment"] / (times["augment"] + times["step"]),
        }
    ]


if __name__ == "__main__":
    run_from_shell(__doc__, 15, measure)
