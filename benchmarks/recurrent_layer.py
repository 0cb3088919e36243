"""Time of KANRecurrent against a loop of the same matrix products with the basis for free, and against
`nn.GRU`.

64 texts of 128 tokens, width 128, one direction, forward and backward pass; ratios of medians, all variants
in one process.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing import medians, run_from_shell
from kcm_lightning.kan import KANRecurrent

TEXTS, STEPS, WIDTH, BASIS = 64, 128, 128, 9


def step(
    run: Callable[[Tensor], Tensor], x: Tensor, parameters: list[Tensor], dtype: torch.dtype
) -> Callable[[], None]:
    """One forward and backward pass."""

    def once() -> None:
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            out = run(x)
        out.backward(torch.ones_like(out))
        x.grad = None
        for parameter in parameters:
            parameter.grad = None
        if x.is_cuda:
            torch.cuda.synchronize()

    return once


class Products(nn.Module):
    """The layer's matrix products and nothing else: one for the inputs of all steps, one a step for the
    states."""

    def __init__(self):
        super().__init__()
        self.inputs = nn.Parameter(torch.randn(BASIS * WIDTH, 3 * WIDTH) / 50)
        self.states = nn.Parameter(torch.randn(BASIS * WIDTH, 3 * WIDTH) / 50)

    def forward(self, basis: Tensor) -> Tensor:
        """`basis`: (T, B, basis channels)."""
        return basis @ self.inputs + torch.stack([channels @ self.states for channels in basis.unbind(0)])


def measure(device: str, dtype: torch.dtype, repeats: int) -> dict:
    torch.manual_seed(0)
    layer, gru, limit = (
        KANRecurrent(WIDTH, WIDTH, False).to(device),
        nn.GRU(WIDTH, WIDTH).to(device),
        Products().to(device),
    )
    x = torch.randn(TEXTS, STEPS, WIDTH, device=device, requires_grad=True)
    basis = torch.rand(STEPS, TEXTS, BASIS * WIDTH, device=device, requires_grad=True)
    times = medians(
        {
            "limit": step(limit, basis, list(limit.parameters()), dtype),
            "layer": step(layer, x, list(layer.parameters()), dtype),
            "gru": step(lambda x: gru(x.transpose(0, 1))[0], x, list(gru.parameters()), dtype),
        },
        repeats,
        warm_up=2,
    )
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "layer_to_limit": times["layer"] / times["limit"],
        "layer_to_gru": times["layer"] / times["gru"],
        "limit_ms": times["limit"] * 1e3 if device == "cuda" else None,  # absolute times only on a GPU
    }


def main() -> None:
    precisions = (torch.float32, torch.bfloat16)
    run_from_shell(
        __doc__, 30, lambda device, repeats: [measure(device, dtype, repeats) for dtype in precisions]
    )


if __name__ == "__main__":
    main()
