"""Time and memory of KANConv2d against the plain convolution over as many channels as it has basis channels.

That convolution is the limit of the dense formulation. All variants run interleaved in one process; what is
reported are ratios of medians. Run with `make bench`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing import medians, run_from_shell
from kcm_lightning.kan import KANConv2d


def step(layer: nn.Module, x: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """One forward and backward pass."""
    gradient = None

    def run() -> None:
        nonlocal gradient
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            out = layer(x)
        gradient = torch.ones_like(out) if gradient is None else gradient
        out.backward(gradient)
        x.grad = None
        for parameter in layer.parameters():
            parameter.grad = None
        if x.is_cuda:
            torch.cuda.synchronize()

    return run


def kept_bytes(layer: nn.Module, x: Tensor) -> int:
    """Bytes of activations kept for the backward pass, weights and their copies left out."""
    weights = {p.data_ptr() for p in layer.parameters()} | {layer.joint_weight().numel()}
    kept = {}

    def pack(saved: Tensor) -> Tensor:
        if saved.data_ptr() not in weights and saved.numel() not in weights:
            kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        layer(x)
    return sum(kept.values())


def measure(device: str, dtype: torch.dtype, grid: int, order: int, repeats: int) -> dict:
    """Ratios to the limit for a layer of 32x16x16x16 -> 32 channels, 3x3."""
    torch.manual_seed(0)
    x = torch.randn(32, 16, 16, 16, device=device, requires_grad=True)
    wide = torch.randn(32, 16 * (grid + order + 1), 16, 16, device=device, requires_grad=True)
    options = {"padding": 1, "grid": grid, "order": order}
    eager, compiled = (KANConv2d(16, 32, 3, **options).to(device) for _ in range(2))
    compiled.compile()
    limit = nn.Conv2d(wide.shape[1], 32, 3, padding=1, bias=False).to(device)
    times = medians(
        {
            "limit": step(limit, wide, dtype),
            "eager": step(eager, x, dtype),
            "compiled": step(compiled, x, dtype),
        },
        repeats,
    )
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "grid": grid,
        "order": order,
        "eager_to_limit": times["eager"] / times["limit"],
        "compiled_to_limit": times["compiled"] / times["limit"],
        "kept_to_input_bytes": kept_bytes(eager, x) / (x.numel() * 4),
        "limit_ms": times["limit"] * 1e3 if device == "cuda" else None,  # absolute times only on a GPU
    }


def main() -> None:
    precisions, bases = (torch.float32, torch.bfloat16), ((5, 3), (3, 1))
    run_from_shell(
        __doc__,
        60,
        lambda device, repeats: [
            measure(device, dtype, *basis, repeats) for dtype in precisions for basis in bases
        ],
    )


if __name__ == "__main__":
    main()
