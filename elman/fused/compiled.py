"""A cell made ready for the executor: its Programs, what of their gradients is wanted, and their plans."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from torch import Tensor, nn

from elman.fused.derive import Derived, Factor, differentiate
from elman.fused.library import Library
from elman.fused.noise import PREFIX, Traces
from elman.fused.plan import Plan, compile_program
from elman.fused.program import Builder, Program
from elman.fused.trace import Traced

T = TypeVar("T")

#: How many passes over steps, each of its own size and kind, stay laid out for a cell.
REMEMBERED = 256


@dataclass(frozen=True)
class Backward:
    """The part of a gradient that is wanted. ``reads``: what of the forward pass it needs, by name."""

    plan: Plan
    factors: tuple[Factor, ...]
    reads: frozenset[str]


class Part:
    """One Program of a cell, with plans made as they are first needed.

    ``fixed`` names its vectors and matrices; ``leaves`` its state (none for a projection). ``half``: its
    products multiply in bfloat16.
    """

    def __init__(self, traced: Traced, library: Library) -> None:
        self.library = library
        self.program = traced.program
        self.fixed = traced.names
        self.leaves = traced.state_names
        self.masks = traced.masks
        self.widths = {name: self.program.nodes[node].width for name, node in self.program.outputs}
        self.matrices = frozenset(self.program.matrices())
        self.carried = {leaf: f"{leaf}'" for leaf in self.leaves}
        self.half = False
        self._derived: Derived | None = None
        self._plans: dict[Any, Any] = {}

    def halved(self) -> "Part":
        """The same with products in bfloat16."""
        other = copy(self)
        other.half = True
        return other

    @property
    def derived(self) -> Derived:
        if self._derived is None:
            self._derived = differentiate(self.program)
        return self._derived

    @property
    def identity(self) -> bool:
        """Whether nothing is done: a cell may read its input as it is."""
        return len(self.program.nodes) == 1 and self.program.nodes[0].op == "input" and not self.leaves

    def forward(self, keeping: bool) -> Plan:
        """The plan of the step; ``keeping`` also what its gradient needs."""
        if keeping not in self._plans:
            program = self.derived.forward if keeping else self.program
            self._plans[keeping] = self._compile(program, self.carried)
        return self._plans[keeping]

    def backward(self, x: bool, wanted: frozenset[str]) -> Backward:
        """The gradient with respect to the state, to ``x`` if asked, and to the ``wanted`` of ``fixed``."""
        if (x, wanted) not in self._plans:
            self._plans[x, wanted] = self._backward(x, wanted)
        return self._plans[x, wanted]

    def _backward(self, x: bool, wanted: frozenset[str]) -> Backward:
        factors = tuple(factor for factor in self.derived.factors if factor.matrix in wanted)
        deltas = {factor.delta for factor in factors}
        backward = self.derived.backward
        builder = Builder(backward.nodes)
        outputs: dict[str, int] = {}
        for name, node in backward.outputs:
            kind, _, rest = name.partition(".")
            if (
                name in deltas
                or (name == "d.x" and x)
                or (kind == "sum" and rest in wanted)
                or rest in self.leaves
            ):
                outputs[name] = node
        for leaf in self.leaves:  # a state that is never read has the gradient zero
            if f"d.{leaf}" not in outputs:
                outputs[f"d.{leaf}"] = builder.wide(builder.constant(0), self.widths[f"{leaf}'"])
        program = builder.finish(outputs)
        carried = {f"d.{leaf}'": f"d.{leaf}" for leaf in self.leaves}
        given = {str(node.data[0]) for node in program.nodes if node.op == "input"}
        given -= {*self.masks, *(name for name in given if name.startswith("d."))}
        reads = given | {factor.operand for factor in factors}
        return Backward(self._compile(program, carried), factors, frozenset(reads))

    def _compile(self, program: Program, carried: dict[str, str]) -> Plan:
        return compile_program(program, carried, self.library.operations)


class Compiled:
    """A cell's scan for the executor: what needs no past, done for all steps at once, and what does.

    Raises:
        Objection: the Programs cannot be laid out.
    """

    def __init__(self, traces: Traces, library: Library) -> None:
        self.traces = traces
        self.project = Part(traces.project, library)
        self.advance = Part(traces.advance, library)
        self.project.forward(False)  # what cannot be laid out is known now, not in the middle of training
        self.advance.forward(False)
        self._made: dict[Any, Any] = {}
        #: The leaves of the state, and the masks by their sites, with their widths.
        self.state = tuple((leaf, self.advance.widths[f"{leaf}'"]) for leaf in self.advance.leaves)
        given = traces.project.program.names("input") | traces.advance.program.names("input")
        named = (*traces.project.masks, *traces.advance.masks)
        self.masks = tuple((name.removeprefix(PREFIX), given[name]) for name in named)
        self.key = f"{traces.project.key}-{traces.advance.key}"

    def prepare(
        self, cell: nn.Module | Mapping[str, Tensor], noise: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """The vectors and matrices of both Programs, from the cell's parameters as they are now."""
        return self.traces.prepare(cell, noise or {})

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` makes, found again by its key. After ``REMEMBERED`` of them it begins anew."""
        found: T | None = self._made.get(key)
        if found is None:
            found = make()
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            self._made[key] = found
        return found

    @cached_property
    def halved(self) -> "Compiled":
        """The same with products in bfloat16: of float32 values, which are rounded as they are multiplied."""
        other = copy(self)
        other.project, other.advance = self.project.halved(), self.advance.halved()
        other._made = {}
        other.key = f"{self.key}-bfloat16"
        return other
