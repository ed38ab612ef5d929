"""What the compiler is told of loops."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from fastfnn.kernels.simd.vectors import operation


@operation(lambda: None)
def not_unrolled(typing_context: Any) -> Any:
    """Keeps the loop that this is in from being unrolled, at no cost.

    A loop that is short, and each time of another length, is mispredicted where it ends. Where two rounds have become
    one, the round that remains or does not is mispredicted too.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        nothing = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "", side_effect=True)
        # What is convergent must not come to depend on other conditions, such as whether a round remains.
        builder.call(nothing, [], attrs=("convergent",))
        return context.get_dummy_value()

    return types.void(), codegen
