"""The structures that the native executor reads, field by field as in ``native/plan.h``."""

import ctypes
from ctypes import c_double, c_int32, c_int64, c_void_p


class Instruction(ctypes.Structure):
    _fields_ = [
        *(
            (name, c_int32)
            for name in ("op", "form", "to", "a", "b", "c", "buffer", "offset", "width", "in_place")
        ),
        ("number", c_double),
    ]  # fmt: skip


class Stage(ctypes.Structure):
    _fields_ = [
        (name, c_int32)
        for name in (
            "by_rows", "barrier", "units", "widest", "inner", "registers", "width", "first", "count",
            "unused",
        )
    ]  # fmt: skip


class Group(ctypes.Structure):
    _fields_ = [(name, c_int32) for name in ("buffer", "offset", "inner", "units", "first", "count")]


class Product(ctypes.Structure):
    _fields_ = [("matrix", c_int32), ("start", c_int32)]


class Matrix(ctypes.Structure):
    _fields_ = [("at", c_void_p), ("step_k", c_int64), ("step_n", c_int64)]


class Buffer(ctypes.Structure):
    _fields_ = [
        ("at", c_void_p), ("step", c_int64), ("row", c_int64), ("first", c_void_p), ("first_row", c_int64),
        ("shift", c_int32), ("from_end", c_int32), ("ring", c_int64),
    ]  # fmt: skip


class Factor(ctypes.Structure):
    _fields_ = [
        *((name, c_int32) for name in ("left", "right", "rows", "columns", "accumulate", "unused")),
        ("out", c_void_p), ("out_row", c_int64),
    ]  # fmt: skip


class Run(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("steps", "batch", "descending", "together", "chunk", "threads")),
        *(
            (name, c_void_p)
            for name in (
                "lengths", "instructions", "stages", "groups", "products", "matrices", "buffers", "factors",
            )
        ),
        *((name, c_int64) for name in ("stage_count", "group_count", "buffer_count", "factor_count")),
        *((name, c_void_p) for name in ("scratch", "before", "after", "weights")),
    ]  # fmt: skip


class Weights(ctypes.Structure):
    _fields_ = [("panels", c_void_p), ("scales", c_void_p), ("format", c_int64)]


class Port(ctypes.Structure):
    _fields_ = [("buffer", c_int32), ("argument", c_int32), ("offset", c_int64)]


class Stream(ctypes.Structure):
    _fields_ = [("run", c_void_p), ("buffers", c_void_p), ("ports", c_void_p), ("port_count", c_int64)]


class Job(ctypes.Structure):
    _fields_ = [("run", c_void_p), ("layer", c_int64), ("first", c_int64)]


#: In the order in which the library tells its sizes.
STRUCTURES: tuple[type[ctypes.Structure], ...] = (
    Instruction, Stage, Group, Product, Matrix, Buffer, Factor, Run, Weights, Port, Stream, Job,
)  # fmt: skip

#: Where the arguments of a two-argument operation come from, as in ``native/plan.h``.
REGISTERS, RIGHT_NUMBER, LEFT_NUMBER, RIGHT_SCALAR, LEFT_SCALAR = range(5)
