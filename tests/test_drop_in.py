"""``elman.drop_in`` beside the modules whose places it takes: everything must be torch.nn's but the way."""

import copy
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from elman import drop_in
from elman.fused import library, native
from elman.fused.library import Library

compiled_here = pytest.mark.skipif(
    library.objection() is not None, reason="no compiled executor on this machine"
)

T, B, X, H = 5, 4, 3, 6
KINDS: dict[str, tuple[type, type, dict[str, Any]]] = {
    "lstm": (drop_in.LSTM, nn.LSTM, {}),
    "lstm projected": (drop_in.LSTM, nn.LSTM, {"proj_size": 2}),
    "gru": (drop_in.GRU, nn.GRU, {}),
    "rnn": (drop_in.RNN, nn.RNN, {}),
    "rnn relu": (drop_in.RNN, nn.RNN, {"nonlinearity": "relu"}),
}
FORMS: dict[str, Callable[[Tensor], Any]] = {  # of x, T B X
    "batched": lambda x: x,
    "unbatched": lambda x: x[:, 1],
    "packed": lambda x: pack_padded_sequence(x, torch.tensor([5, 5, 3, 1])),
    "packed in any order": lambda x: pack_padded_sequence(
        x, torch.tensor([2, 5, 1, 4]), enforce_sorted=False
    ),
    "packed of one length": lambda x: pack_sequence([x[:, row] for row in (2, 0, 3)]),
}

everyone = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with every scan of our own."""
    seen: list[None] = []
    run = drop_in.run

    def counted(x: Tensor, layers: list[list[Any]]) -> Any:
        seen.extend(None for layer in layers for _ in layer)
        return run(x, layers)

    monkeypatch.setattr(drop_in, "run", counted)
    return seen


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    """Our module and torch's, with the same weights."""
    ours, theirs, more = KINDS[kind]
    mine, other = ours(X, H, **more, **options), theirs(X, H, **more, **options)
    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.normal_(0, 0.5)
    other.load_state_dict(mine.state_dict())
    return mine, other


def hidden(module: Any, *batch: int) -> Any:
    """A random state of a module."""
    count = module.num_layers * (2 if module.bidirectional else 1)
    like = module.weight_ih_l0
    h = torch.randn(count, *batch, module.proj_size or H).to(like).requires_grad_()
    return (h, torch.randn(count, *batch, H).to(like).requires_grad_()) if module.mode == "LSTM" else h


def tensors(result: Any) -> list[Tensor]:
    """Outputs and last state."""
    y, last = result
    return [y.data if isinstance(y, PackedSequence) else y, *(last if isinstance(last, tuple) else [last])]


def derived(module: Any, x: Tensor, shape: Callable[[Tensor], Any], hx: Any) -> list[Tensor]:
    """Outputs, last state, and the gradients of x, the state and every parameter."""
    found = tensors(module(shape(x), hx))
    value = sum(
        ((part * torch.linspace(-1, 2, part.numel()).to(part).view(part.shape)).sum() for part in found),
        torch.zeros(()),
    )
    leaves = [] if hx is None else list(hx) if isinstance(hx, tuple) else [hx]
    return [*found, *torch.autograd.grad(value, [x, *leaves, *module.parameters()])]


def close(mine: list[Tensor], theirs: list[Tensor], within: float) -> None:
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert (a - b).norm() <= within * b.norm()


@everyone
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_values_and_gradients_are_torchs(
    kind: str, layers: int, bias: bool, bidirectional: bool, batch_first: bool, scans: list[None]
) -> None:
    mine, theirs = pair(
        kind, num_layers=layers, bias=bias, bidirectional=bidirectional, batch_first=batch_first
    )
    forms = list(FORMS)[:2] if batch_first else list(FORMS)  # a packed sequence has no axis to come first
    ran = 0
    for precision, within in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        mine.to(precision)
        theirs.load_state_dict(mine.to(precision).state_dict())
        theirs.to(precision).load_state_dict(mine.state_dict())
        for form in forms:
            x, shape = torch.randn(T, B, X, dtype=precision, requires_grad=True), FORMS[form]
            if form == "batched" and batch_first:
                x = x.detach().transpose(0, 1).requires_grad_()
            rows = [] if form == "unbatched" else [3 if "one length" in form else B]
            for hx in (None, hidden(mine, *rows)):
                close(derived(mine, x, shape, hx), derived(theirs, x, shape, hx), within)
                ran += 1
    assert ran == (8 if batch_first else 20)
    if library.objection() is None:
        assert len(scans) == ran * layers * (2 if bidirectional else 1)


@compiled_here
@everyone
def test_two_threads_take_a_direction_each(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = pair(kind, num_layers=2, bidirectional=True)
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1)
    torch.set_num_threads(2)
    calls = list[int]()
    scan = Library.scan
    monkeypatch.setattr(Library, "scan", lambda *given: calls.append(len(given[1])) or scan(*given))
    for shape in FORMS.values():
        x = torch.randn(T, B, X, requires_grad=True)
        close(derived(mine, x, shape, None), derived(theirs, x, shape, None), 1e-5)
    assert calls == [4, 2, 2] * len(FORMS)  # backward each layer by itself


@everyone
def test_a_packed_result_is_packed_as_it_came(kind: str) -> None:
    mine, theirs = pair(kind, bidirectional=True)
    for form in ("packed", "packed in any order", "packed of one length"):
        given = FORMS[form](torch.randn(T, B, X))
        for ours, their in zip(mine(given)[0][1:], theirs(given)[0][1:], strict=True):
            assert (ours is None and their is None) or torch.equal(ours, their)


@everyone
@pytest.mark.parametrize("form", FORMS)
def test_dropout_draws_what_torch_draws(kind: str, form: str, scans: list[None]) -> None:
    mine, theirs = pair(kind, num_layers=3, dropout=0.4, bidirectional=True)
    x = torch.randn(T, B, X)
    found = []
    for module in (mine, theirs):
        torch.manual_seed(3)
        found.append(tensors(module(FORMS[form](x))))
    close(*found, within=1e-5)
    mine.eval(), theirs.eval()
    close(tensors(mine(FORMS[form](x))), tensors(theirs(FORMS[form](x))), within=1e-5)
    assert (found[0][0] - tensors(mine(FORMS[form](x)))[0]).norm() > 0.01
    assert len(scans) in (0, 18)


@everyone
def test_all_may_be_dropped(kind: str) -> None:
    mine, theirs = pair(kind, num_layers=2, dropout=1.0)
    x = torch.randn(T, B, X)
    close(tensors(mine(x)), tensors(theirs(x)), within=1e-5)


@everyone
def test_some_steps_of_training_give_the_same_weights(kind: str) -> None:
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3}
    mine, theirs = pair(kind, **options)
    for module in (mine.double(), theirs.double()):
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.5)
        hx = None
        for _ in range(4):
            optimizer.zero_grad()
            y, last = module(torch.randn(T, B, X, dtype=torch.float64), hx)
            y.square().sum().backward()
            optimizer.step()
            hx = tuple(leaf.detach() for leaf in last) if isinstance(last, tuple) else last.detach()
    for (name, ours), (their_name, their) in zip(
        mine.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == their_name
        torch.testing.assert_close(ours, their, rtol=1e-9, atol=1e-11)


@everyone
def test_it_is_the_same_module_with_the_same_parameters(kind: str, tmp_path: Path) -> None:
    mine, theirs = pair(kind, num_layers=2, bidirectional=True)
    assert isinstance(mine, KINDS[kind][1])
    assert repr(mine) == repr(theirs)
    x = torch.randn(T, B, X)
    mine(x)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in mine.named_parameters()] == list(theirs.state_dict())
    assert list(mine.modules()) == [mine]
    mine.flatten_parameters()
    other = copy.deepcopy(mine)
    torch.save(mine.state_dict(), tmp_path / "weights.pt")
    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.zero_()
    assert mine(x)[0].abs().max() == 0
    close(tensors(other(x)), tensors(theirs(x)), within=1e-5)
    mine.load_state_dict(torch.load(tmp_path / "weights.pt"))
    close(tensors(mine(x)), tensors(theirs(x)), within=1e-5)
    theirs.load_state_dict(mine.state_dict())


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_start_is_drawn_as_torch_draws_it(kind: str) -> None:
    ours, theirs, _ = KINDS[kind]
    drawn = []
    for make in (ours, theirs):
        torch.manual_seed(9)
        drawn.append(list(make(X, H, 2).parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))


def test_the_constructors_take_the_same_arguments() -> None:
    for ours, theirs in ((drop_in.LSTM, nn.LSTM), (drop_in.GRU, nn.GRU), (drop_in.RNN, nn.RNN)):
        assert ours.__init__ is theirs.__init__
    assert list(inspect.signature(drop_in.LSTM.forward).parameters) == ["self", "input", "hx"]


@compiled_here
def test_the_first_use_draws_no_random_numbers() -> None:
    module = drop_in.GRU(11, 13)  # of sizes that no other test has
    torch.manual_seed(2)
    module(torch.ones(T, B, 11))
    after = torch.rand(())
    torch.manual_seed(2)
    assert torch.equal(after, torch.rand(()))


@compiled_here
def test_modules_of_one_size_are_traced_once() -> None:
    module, x = drop_in.LSTM(7, 9, num_layers=3), torch.randn(T, B, 7)
    module(x)
    made = drop_in._compile.cache_info().misses
    other = drop_in.LSTM(7, 9, num_layers=5).double().eval()
    other(x.double())
    module.eval()(x)
    assert drop_in._compile.cache_info().misses == made


WRONG: dict[str, tuple[str, Any, Any]] = {
    "features": ("lstm", torch.randn(T, B, X + 1), None),
    "axes": ("gru", torch.randn(1, T, B, X), None),
    "one axis": ("rnn", torch.randn(X), None),
    "precision": ("lstm", torch.randn(T, B, X).double(), None),
    "whole numbers": ("gru", torch.ones(T, B, X, dtype=torch.int64), None),
    "no steps": ("lstm", torch.randn(0, B, X), None),
    "layers of the state": ("gru", torch.randn(T, B, X), torch.randn(2, B, H)),
    "rows of the state": ("rnn", torch.randn(T, B, X), torch.randn(1, B + 1, H)),
    "features of h": ("lstm", torch.randn(T, B, X), (torch.randn(1, B, H + 1), torch.randn(1, B, H))),
    "features of c": (
        "lstm projected", torch.randn(T, B, X), (torch.randn(1, B, 2), torch.randn(1, B, 2)),
    ),
    "axes of the state": ("gru", torch.randn(T, B, X), torch.randn(1, H)),
    "axes of an unbatched state": ("gru", torch.randn(T, X), torch.randn(1, 1, H)),
    "axes of an unbatched pair": ("lstm", torch.randn(T, X), (torch.randn(1, H), torch.randn(1, 1, H))),
    "precision of the state": ("gru", torch.randn(T, B, X), torch.randn(1, B, H).double()),
    "features packed": ("gru", pack_sequence([torch.randn(3, X + 1)]), None),
    "axes packed": ("gru", pack_sequence([torch.randn(3, 2, X)]), None),
    "state of a packed batch": ("rnn", pack_sequence([torch.randn(3, X)]), torch.randn(1, 2, H)),
    "one leaf": ("lstm", torch.randn(T, B, X), torch.randn(1, B, H)),
    "a list of numbers": ("gru", [1.0, 2.0], None),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_torch_refuses_is_refused_in_its_words(case: str) -> None:
    kind, given, hx = WRONG[case]
    errors = []
    for module in pair(kind):
        with pytest.raises(Exception) as error:
            module(given, hx)
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_options_that_torch_refuses(kind: str) -> None:
    for options in ({"dropout": 2}, {"num_layers": 0}, {"proj_size": H}, {"bias": 1}):
        errors = []
        for make in KINDS[kind][:2]:
            with pytest.raises(Exception) as error:
                make(X, H, **options)
            errors.append((error.type, str(error.value)))
        assert errors[0] == errors[1]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_no_rows_are_no_error(kind: str) -> None:
    mine, theirs = pair(kind)
    close(tensors(mine(torch.randn(T, 0, X))), tensors(theirs(torch.randn(T, 0, X))), within=0)


@compiled_here
def test_weights_may_be_computed(scans: list[None]) -> None:
    """Normalised, dropped or exchanged for one call: torch's modules read what stands under the name."""
    mine, theirs = pair("lstm")
    x = torch.randn(T, B, X, requires_grad=True)
    for module in (mine, theirs):
        nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    with torch.no_grad():
        mine.parametrizations.weight_hh_l0.original0.mul_(2)
        theirs.parametrizations.weight_hh_l0.original0.mul_(2)
    close(derived(mine, x, torch.clone, None), derived(theirs, x, torch.clone, None), within=1e-5)

    mine, theirs = pair("gru")
    changed = {name: 2 * value for name, value in theirs.state_dict().items()}
    found = [tensors(torch.func.functional_call(module, changed, (x,))) for module in (mine, theirs)]
    close(*found, within=1e-5)
    assert len(scans) == 2
    close(tensors(mine(x)), tensors(theirs(x)), within=1e-5)


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_hh_l0"])
def test_weights_of_another_shape_are_left_to_torch(name: str, scans: list[None]) -> None:
    for module in pair("gru"):
        setattr(module, name, nn.Parameter(torch.randn(2, 2)))
        with pytest.raises(RuntimeError):
            module(torch.randn(T, B, X, requires_grad=True))
    assert scans == []


@everyone
def test_what_the_executor_does_not_take_torch_computes(kind: str, scans: list[None]) -> None:
    mine, theirs = pair(kind, num_layers=2)
    x = torch.randn(T, B, X)
    if kind != "lstm":  # for which oneDNN has no float16 on most machines
        with torch.autocast("cpu", dtype=torch.float16):
            close(tensors(mine(x)), tensors(theirs(x)), within=0)
    traced = torch.jit.trace(mine, (x,), check_trace=False)
    close(tensors(traced(x)), tensors(theirs(x)), within=1e-6)
    gradients = [
        torch.func.grad(lambda x, module=module: module(x)[0].square().sum())(x) for module in (mine, theirs)
    ]
    close(gradients[:1], gradients[1:], within=1e-6)
    assert scans == []


@compiled_here
@everyone
@pytest.mark.parametrize("autocast", [True, False])
def test_products_in_bfloat16_are_no_farther_from_the_truth_than_torchs(
    kind: str, autocast: bool, scans: list[None]
) -> None:
    mine, theirs = pair(kind, num_layers=2, bidirectional=True)
    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.copy_(parameter.bfloat16())
    theirs.load_state_dict(mine.state_dict())
    exact = copy.deepcopy(theirs).double()
    if not autocast:
        mine.bfloat16(), theirs.bfloat16()
    apart: list[tuple[float, float]] = []
    for form, shape in FORMS.items():
        rows = [] if form == "unbatched" else [3 if "one length" in form else B]
        for hx in (None, hidden(mine, *rows)):
            low = torch.randn(T, B, X).to(torch.float32 if autocast else torch.bfloat16)
            wide = None if hx is None else tuple(h.double() for h in hx) if type(hx) is tuple else hx.double()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                ours, their = (derived(m, low.clone().requires_grad_(), shape, hx) for m in (mine, theirs))
            truth = derived(exact, low.double().requires_grad_(), shape, wide)
            for a, b, true in zip(ours, their, truth, strict=True):
                assert a.dtype == b.dtype
                apart.append(tuple(float((each - true).norm() / true.norm()) for each in (a, b)))
    ours, their = torch.tensor(apart).T
    assert len(scans) == 40
    assert 1e-4 < ours.median() < 0.75 * their.median()
    assert ours.max() < 0.05


def test_without_a_compiled_executor_torch_computes(
    scans: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "objection", lambda: "no compiler was there when the package was installed")
    drop_in._compile.cache_clear()
    mine, theirs = pair("gru", num_layers=2)
    x = torch.randn(T, B, X)
    close(tensors(mine(x)), tensors(theirs(x)), within=0)
    assert scans == []
    drop_in._compile.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_compiled_by_torch_it_is_what_it_was(kind: str) -> None:
    mine, theirs = pair(kind)
    x = torch.randn(T, B, X)

    @torch.compile(backend="aot_eager")
    def run(x: Tensor) -> Any:
        return mine(2 * x)

    close(tensors(run(x)), tensors(theirs(2 * x)), within=1e-5)


@compiled_here
def test_in_inference_mode_and_from_the_first_use(scans: list[None]) -> None:
    mine, theirs = drop_in.LSTM(5, 8), nn.LSTM(5, 8)
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(T, B, 5)
    with torch.inference_mode():
        close(tensors(mine(x)), tensors(theirs(x)), within=1e-5)
    mine(x)[0].sum().backward()
    assert mine.weight_hh_l0.grad.abs().max() > 0
    assert len(scans) == 2


@compiled_here
def test_several_threads_may_run_one_module() -> None:
    module = drop_in.GRU(X, H, num_layers=2, bidirectional=True)
    inputs = [torch.randn(T, B, X) for _ in range(24)]
    with torch.no_grad(), ThreadPoolExecutor(4) as pool:
        alone = [module(x)[0] for x in inputs]
        together = list(pool.map(lambda x: module(x)[0].detach(), inputs))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@compiled_here
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_second_derivatives(kind: str) -> None:
    mine, theirs = pair(kind)
    x = torch.randn(2, 2, X, dtype=torch.float64, requires_grad=True)
    found = []
    for module in (mine.double(), theirs.double()):
        (first,) = torch.autograd.grad(module(x)[0].square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [x, *module.parameters()]))
    close(list(found[0]), list(found[1]), within=1e-9)
