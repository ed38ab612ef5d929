"""Threads that do the same steps together, and wait for each other without leaving compiled code."""

from __future__ import annotations

import platform
import time
from typing import Any

from llvmlite import ir
from numba import types

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import call_address, data_of, operation
from fastfnn.kernels.structures import FLAG_STRIDE

LOOKS = 2000  # before a waiting thread offers its core to others: longer than the others' work differs
HAS_PAUSE = platform.machine().lower() in {"x86_64", "amd64"}


def _set_flag_twin(flags: Any, offset: int, value: int) -> None:
    flags[offset] = value


@operation(_set_flag_twin)
def set_flag(typing_context: Any, flags: Any, offset: Any, value: Any) -> Any:
    """flags[offset] = value, after everything that this thread wrote before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.gep(data_of(context, builder, flags, arguments[0]), [arguments[1]])
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(flags, types.intp, types.int64), codegen


@operation(lambda flags, offset: flags[offset])
def get_flag(typing_context: Any, flags: Any, offset: Any) -> Any:
    """flags[offset], before everything that this thread reads after."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.gep(data_of(context, builder, flags, arguments[0]), [arguments[1]])
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(flags, types.intp), codegen


@operation(lambda: time.sleep(0))
def pause(typing_context: Any) -> Any:
    """Lets the other thread of a core go ahead for a moment."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if HAS_PAUSE:
            name = "llvm.x86.sse2.pause"
            function = builder.module.globals.get(name)
            if function is None:
                function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), []), name)
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


@kernel
def wait_for(part, thread, arrivals):
    """Returns once a thread of the team has arrived so often, or the team is dissolved: whether it has arrived."""
    looks = 0
    while get_flag(part.flags, thread * FLAG_STRIDE) < arrivals:
        if get_flag(part.flags, part.threads * FLAG_STRIDE) != 0:
            return False
        pause()
        looks += 1
        if looks > LOOKS and part.give_way != 0:
            call_address(part.give_way, ())
    return True


@kernel
def wait_for_all(part):
    """Returns once all threads of the team are here; what they wrote before is then seen by all.

    Every thread counts its arrivals in a flag of its own, so that no two write to one cache line. Says whether all
    came: before the first step one may fail to, and then the others are told by the flag behind all others.
    """
    everyone = True
    if part.threads > 1:
        arrivals = part.flags[part.thread * FLAG_STRIDE] + 1
        set_flag(part.flags, part.thread * FLAG_STRIDE, arrivals)
        for thread in range(part.threads):
            everyone = everyone and wait_for(part, thread, arrivals)
    return everyone
