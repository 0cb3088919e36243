"""Share of a training step that the batched augmentation takes: CKAN of cifar_lt_cpu.yaml, eager, bf16 autocast."""

import json

import torch

from benchmarks.timing import medians
from kcm_lightning.data import CIFAR100LT
from kcm_lightning.process import keep_memory
from kcm_lightning.small import CKAN


def main() -> None:
    keep_memory()  # as every command does
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
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

    times = medians({"augment": augment, "step": step}, repeats=15)
    print(json.dumps({"device": device, "augmentation_share_of_step": times["augment"] / (times["augment"] + times["step"])}))


if __name__ == "__main__":
    main()
