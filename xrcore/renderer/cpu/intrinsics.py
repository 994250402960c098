"""32-bit integer and bit operations for numba.

numba widens int32 arithmetic to 64 bits and checks indices for negative wrap-around. Either halves the width of
the vectors that LLVM can use, so the inner loops say exactly what they mean.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()


@intrinsic
def load_u32(_context, words, index):
    """words[index] as int32 bits; index is int32, unchecked."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = builder.gep(array.data, [builder.sext(args[1], _I64)], inbounds=True)
        return builder.load(pointer, align=4)

    return types.int32(words, types.int32), codegen


def _binary(operation: str):
    @intrinsic
    def function(_context, a, b):
        def codegen(_context, builder, _signature, args):
            return getattr(builder, operation)(args[0], args[1])

        return types.int32(types.int32, types.int32), codegen

    return function


add = _binary("add")
multiply = _binary("mul")
bit_and = _binary("and_")
shift_right = _binary("lshr")
shift_left = _binary("shl")


@intrinsic
def truncate(_context, x):
    """float32 to int32, towards zero: floor for what is not negative."""

    def codegen(_context, builder, _signature, args):
        return builder.fptosi(args[0], _I32)

    return types.int32(types.float32), codegen


@intrinsic
def to_float(_context, i):
    """int32 to float32."""

    def codegen(_context, builder, _signature, args):
        return builder.sitofp(args[0], _F32)

    return types.float32(types.int32), codegen


@intrinsic
def bits_to_float(_context, i):
    """The float32 that has these bits."""

    def codegen(_context, builder, _signature, args):
        return builder.bitcast(args[0], _F32)

    return types.float32(types.int32), codegen
