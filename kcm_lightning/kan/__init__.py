"""Kolmogorov-Arnold layers."""

from kcm_lightning.kan.conv import KANConv2d
from kcm_lightning.kan.linear import KANLinear
from kcm_lightning.kan.recurrent import KANRecurrent
from kcm_lightning.kan.spline import bspline_basis

__all__ = ["KANConv2d", "KANLinear", "KANRecurrent", "bspline_basis"]
