"""Subnormal numbers count as zero while kernels run.

The velocity of a weight whose input has not been seen for some time decays to a number below the smallest normal one,
and arithmetic on such numbers takes a hundred times longer. And what is left of a small number when its first sixteen
bits are gone would need more than the bits of a bfloat16. What is lost is below 1.2e-38, or 2.2e-308 for float64.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastfnn.kernels.simd import INT32, operation

IS_X86 = platform.machine().lower() in {"x86_64", "amd64"}
FLUSH_TO_ZERO = 0x8000  # bits of the control register of x86: results, and operands
SUBNORMALS_ARE_ZERO = 0x0040


def _control_register(builder: Any, name: str, word: Any) -> None:
    """Calls the instruction that stores the control register to a word in memory, or loads it from there."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [word.type]), name)
    builder.call(function, [word])


@operation(lambda: 0)
def flush_subnormals(typing_context: Any) -> Any:
    """From here on, subnormal numbers are zero for this thread; returns what `restore_subnormals` needs.

    Nothing happens on other processors than x86.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not IS_X86:
            return INT32(0)
        word = cgutils.alloca_once(builder, INT32)
        _control_register(builder, "llvm.x86.sse.stmxcsr", word)
        before = builder.load(word)
        builder.store(builder.or_(before, INT32(FLUSH_TO_ZERO | SUBNORMALS_ARE_ZERO)), word)
        _control_register(builder, "llvm.x86.sse.ldmxcsr", word)
        return before

    return types.uint32(), codegen


@operation(lambda before: None)
def restore_subnormals(typing_context: Any, before: Any) -> Any:
    """The thread computes as before `flush_subnormals`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if IS_X86:
            word = cgutils.alloca_once(builder, INT32)
            builder.store(arguments[0], word)
            _control_register(builder, "llvm.x86.sse.ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.uint32), codegen
