"""Networks for other libraries, and from them. Those libraries are imported when a network comes or goes."""

from fastfnn.exchange.torch import torch_module

__all__ = ["torch_module"]
