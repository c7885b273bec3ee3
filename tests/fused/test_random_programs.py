"""Programs nobody would write: random graphs of every kind of node, values and gradients.

Always the same 150; ``make nightly`` asks for thousands of others by ``ELMAN_RANDOM_PROGRAMS``. Hypothesis
then prints what reproduces a failure.
"""

import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.fused import native
from elman.fused.program import POINTWISE, Builder, Program
from tests.fused.running import (
    agree,
    by_definition,
    by_executor,
    compiled_here,
    cotangents_for,
    drawn,
    poisoned,  # noqa: F401
    shapes_of,
)

pytestmark = [compiled_here, pytest.mark.usefixtures("poisoned")]

NIGHTLY = os.environ.get("ELMAN_RANDOM_PROGRAMS")

#: Those that are smooth wherever they are put; the others get arguments made for them.
SMOOTH = ["add", "sub", "mul", "neg", "erf", "tanh", "logistic", "softplus", "max", "min", "abs"]
SMALL = ["exp", "log", "log1p", "sqrt", "div"]
COMPARED = ["gt", "ge", "eq", "where"]


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A step with one or two states, up to twenty nodes of widths around H, and outputs that stay bounded."""
    b = Builder()
    width = draw(st.sampled_from([1, 2, 3, 7, 16, 17]))
    states = draw(st.integers(1, 2))
    wide = draw(st.integers(1, 4)) * width + draw(st.sampled_from([0, 0, 1]))
    leaves = [b.add("input", width=wide, data=("x",))]
    leaves += [b.add("input", width=width, data=(f"state.{k}",)) for k in range(states)]
    leaves += [b.add("vector", width=draw(st.sampled_from([1, width])), data=("p",)), b.constant(0.7)]
    values = list(leaves)
    for k in range(draw(st.integers(3, 20))):
        values.append(_node(draw, b, values, leaves, width, k))
    outputs = {"y": _bounded(b, values[-1])}
    for k in range(states):
        fitting = [v for v in values[len(leaves) :] if b.nodes[v].width == width]
        source = draw(st.sampled_from(fitting)) if fitting else leaves[1 + k]
        outputs[f"state.{k}'"] = _bounded(b, source)
    return b.finish(outputs)


def _bounded(b: Builder, value: int) -> int:
    return b.add("tanh", value)


def _node(draw: st.DrawFn, b: Builder, values: list[int], leaves: list[int], width: int, k: int) -> int:
    filled = [v for v in values if b.nodes[v].width > 0]
    value = draw(st.sampled_from(filled))
    size = b.nodes[value].width
    kind = draw(
        st.sampled_from(
            ["smooth", "smooth", "smooth", "small", "compared", "product", "slice", "concat", "row"]
        )
    )
    partners = [v for v in values if b.nodes[v].width in (0, 1, size)]
    if kind == "smooth":
        op = draw(st.sampled_from(SMOOTH))
        return b.add(op, *[value, draw(st.sampled_from(partners))][: POINTWISE[op]])
    if kind == "small":
        op = draw(st.sampled_from(SMALL))
        bounded = b.add("tanh", value)
        positive = b.add("add", b.add("mul", bounded, bounded), b.constant(0.5))
        return b.add(
            op, *{"exp": (bounded,), "div": (draw(st.sampled_from(partners)), positive)}.get(op, (positive,))
        )
    if kind == "compared":  # of what is given, not computed: rounding decides nothing
        given_leaves = [v for v in leaves if b.nodes[v].width in (0, 1, size)]
        left = draw(st.sampled_from([v for v in leaves if b.nodes[v].width == size] or [value]))
        if left == value and value not in leaves:
            return b.add("tanh", value)
        test = b.add(draw(st.sampled_from(COMPARED[:3])), left, draw(st.sampled_from(given_leaves)))
        return b.add("where", test, value, draw(st.sampled_from(partners)))
    if kind == "product":
        columns = draw(st.sampled_from([1, width, 2 * width, 3 * width]))
        return b.add("product", value, width=columns, data=(f"W{k}", draw(st.booleans())))
    if kind == "slice":
        start = draw(st.integers(0, size - 1))
        return b.columns(value, start, draw(st.integers(start + 1, size)))
    if kind == "concat":
        other = draw(st.sampled_from(filled))
        return b.add("concat", value, other, width=size + b.nodes[other].width)
    return b.add(draw(st.sampled_from(["sum", "max_row"])), value, width=1)


@pytest.mark.slow
@settings(
    max_examples=int(NIGHTLY or 150), deadline=None, derandomize=NIGHTLY is None, print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    program=programs(),
    steps=st.integers(1, 4),
    batch=st.sampled_from([1, 2, 5, 20]),
    ragged=st.booleans(),
    reverse=st.booleans(),
    threads=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_random_programs_agree(
    program: Program, steps: int, batch: int, ragged: bool, reverse: bool, threads: int, seed: int
) -> None:
    torch.set_num_threads(threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "WORK_PER_THREAD", 1)
        check(program, steps, batch, ragged, reverse, seed)


def check(program: Program, steps: int, batch: int, ragged: bool, reverse: bool, seed: int) -> None:
    named = program.names("input")
    tensors = drawn(program, steps, batch, seed)
    if "x" not in named:
        tensors = {"x": torch.zeros(steps, batch, 1, dtype=torch.float64)} | tensors
    for name, node in program.outputs:
        if name != "y" and name[:-1] not in tensors:
            tensors[name[:-1]] = torch.ones(batch, program.nodes[node].width, dtype=torch.float64)
    tensors = {"x": tensors.pop("x")} | dict(sorted(tensors.items()))
    lengths = torch.randint(0, steps + 1, (batch,)) if ragged else None
    given = cotangents_for(shapes_of(program, tensors), seed + 1)
    mine = by_executor(program, tensors, given, lengths, reverse)
    agree(mine, by_definition(program, tensors, given, lengths, reverse), 1e-10)
