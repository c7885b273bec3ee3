"""A function of tensors run once, its ATen operations recorded as a graph.

What ``torch.fx.experimental.proxy_tensor.make_fx`` does, without importing PyTorch's compiler, which takes
longer than importing PyTorch.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from elman.fused.operations import Objection

aten = torch.ops.aten

_ABOUT_MEMORY = (aten.size.default, aten.stride.default, aten.storage_offset.default)


def record(run: Callable[..., Sequence[Tensor]], *given: Any) -> fx.GraphModule:
    """The operations of ``run(*given)``: a graph whose placeholders are the tensors in ``given``, in order.

    ``run`` is called once, on copies. Every node has what it came to in ``meta["val"]``, a tensor or several;
    tensors that ``run`` makes of numbers are attributes of the module. Dead code is left out. Raises what
    ``run`` raises.

    Raises:
        Objection: it asks for a value, or uses a tensor that it was not given.
    """
    tensors, structure = pytree.tree_flatten(given)
    recorder = _Recorder()
    copies = [tensor.detach().clone() for tensor in tensors]
    for place, tensor in enumerate(copies):
        recorder.stands_for(recorder.graph.placeholder(f"given_{place}"), tensor)
    with torch.no_grad(), recorder:
        returned = run(*pytree.tree_unflatten(copies, structure))
    recorder.graph.output([recorder.node(tensor) for tensor in returned])
    recorder.graph.eliminate_dead_code()
    return fx.GraphModule(recorder.root, recorder.graph)


class _Recorder(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or the compiler would be imported at the first operation, to be told to skip this

    def __init__(self) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.root = nn.Module()
        self._made: set[fx.Node] = set()  # of no tensor at all
        self._nodes: dict[int, tuple[Tensor, fx.Node]] = {}  # tensors are kept, so that no id comes again

    def __torch_dispatch__(
        self, called: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if called.namespace == "prim" or called in _ABOUT_MEMORY:
            return called(*args, **named)
        with self:  # an operation that is made of others is these others
            made = called.decompose(*args, **named)
        if made is not NotImplemented:
            return made
        if torch.Tag.data_dependent_output in called.tags:
            raise Objection(f"it asks for the value of a tensor ({called})")
        returned = called(*args, **named)
        if called is aten.detach.default and self.node(args[0]) in self._made:
            self._nodes[id(returned)] = returned, self.node(args[0])  # what factories make is detached, too
            return returned
        if called is aten.lift_fresh.default:  # a tensor of numbers: a copy, since it may be written to
            called = aten.lift_fresh_copy.default
            args = (self._constant(args[0].clone()),)
        taken = pytree.tree_map_only(Tensor, self.node, (args, named))
        node = self.graph.call_function(called, *taken)
        node._rename(called.overloadpacket.__name__)
        if not node.all_input_nodes:
            self._made.add(node)
        self.stands_for(node, returned)
        return returned

    def stands_for(self, node: fx.Node, value: Any) -> None:
        node.meta["val"] = value
        if isinstance(value, Tensor):
            self._nodes[id(value)] = value, node
        elif isinstance(value, list | tuple):
            for place, item in enumerate(value):
                self.stands_for(self.graph.call_function(operator.getitem, (node, place)), item)

    def node(self, tensor: Tensor) -> fx.Node:
        if id(tensor) not in self._nodes:
            raise Objection(
                "it keeps a tensor that is neither a parameter nor a buffer; register_buffer makes it one"
            )
        return self._nodes[id(tensor)][1]

    def _constant(self, tensor: Tensor) -> fx.Node:
        name = f"constant_{len(dict(self.root.named_buffers()))}"
        self.root.register_buffer(name, tensor)
        return self.graph.get_attr(name)
