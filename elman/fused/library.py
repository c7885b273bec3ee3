"""Finds the compiled executor that fits this machine, and lends it PyTorch's threads."""

import ctypes
import platform
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch

from elman.fused import abi

#: Where setup.py puts what it compiled: ``executor.LEVEL.so``, one for each level of instructions.
FOLDER = Path(__file__).parent / "native"

#: Best first: AVX-512 with bfloat16, AVX-512, AVX2, SSE4 on x86-64; the compiler's default elsewhere.
LEVELS = {"v4b": 5, "v4": 4, "v3": 3, "v2": 2, "plain": 0}

#: What products multiply: numbers as the values are, or float32 values rounded to bfloat16.
PRODUCTS = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}

#: What values are.
PRECISIONS = (torch.float32, torch.float64)


class Library:
    """One compiled executor. ``operations`` numbers what a stage may do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path))
        self._library.elman_operations.restype = ctypes.c_char_p
        for name in ("size", "vector_bytes", "machine_level", *(f"scratch_{n}" for n in PRODUCTS.values())):
            getattr(self._library, f"elman_{name}").restype = ctypes.c_int64
        names = self._library.elman_operations().decode().split()
        self.operations = {name: number for number, name in enumerate(names)}
        self.vector_bytes = int(self._library.elman_vector_bytes())
        self.machine_level = int(self._library.elman_machine_level())
        self._scratch = {d: getattr(self._library, f"elman_scratch_{n}") for d, n in PRODUCTS.items()}
        self._scan = {d: getattr(self._library, f"elman_scan_{n}") for d, n in PRODUCTS.items()}
        for k, structure in enumerate(abi.STRUCTURES):
            if self._library.elman_size(ctypes.c_int64(k)) != ctypes.sizeof(structure):
                raise OSError(
                    f"{path.name} was built from other sources: {structure.__name__} has another size"
                )
        self.stream = self._library.elman_stream
        self.stream.argtypes, self.stream.restype = [ctypes.c_void_p] * 5, None
        #: The file of the OpenMP whose threads it runs on; None: it starts threads of its own.
        self.openmp: Path | None = None
        found = _openmp()
        if found is not None:
            self.openmp, functions = found
            self._library.elman_use_openmp(*functions)

    @property
    def level(self) -> str:
        """One of ``LEVELS``: for which instructions it was compiled."""
        return self.path.name.split(".")[1]

    def scratch_bytes(self, run: abi.Run, products: torch.dtype) -> int:
        return int(self._scratch[products](ctypes.byref(run)))

    def scan(self, jobs: Sequence[abi.Job], products: torch.dtype) -> None:
        """Runs them, layer by layer; ``products`` of ``PRODUCTS``. Other Python threads go on meanwhile."""
        table = ctypes.byref(jobs[0]) if len(jobs) == 1 else _jobs(len(jobs))(*jobs)
        self._scan[products](table, ctypes.c_int64(len(jobs)))


@cache
def _jobs(count: int) -> type[ctypes.Array[abi.Job]]:
    return abi.Job * count  # a type made anew would take longer than all else here


@cache
def load(level: str | None = None) -> Library | None:
    """The best executor for this machine, or that of one level; None where none was compiled."""
    for name, needed in LEVELS.items():
        path = FOLDER / f"executor.{name}.so"
        if level not in (None, name) or not path.exists():
            continue
        if needed and (platform.machine().lower() not in ("x86_64", "amd64") or _machine_level() < needed):
            continue
        return Library(path)
    return None


def objection() -> str | None:
    """Why no compiled executor runs here; None where one does."""
    try:
        return None if load() is not None else "no compiler was there when the package was installed"
    except OSError as error:
        return f"the compiled executor cannot be loaded: {error}"


@cache
def _machine_level() -> int:
    """What the processor can do, as told by the most modest executor, which runs everywhere."""
    for name in reversed(LEVELS):
        path = FOLDER / f"executor.{name}.so"
        if path.exists():
            library = ctypes.CDLL(str(path))
            library.elman_machine_level.restype = ctypes.c_int64
            return int(library.elman_machine_level())
    return 0


def _openmp() -> tuple[Path, tuple[ctypes.c_void_p, ...]] | None:
    """The OpenMP that PyTorch itself runs on, and the addresses of its functions that open a team."""
    for path in _openmp_files():
        library = ctypes.CDLL(str(path))
        names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
        if all(hasattr(library, name) for name in names):
            return path, tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p) for name in names)
    return None


def _openmp_files() -> Iterator[Path]:
    package = Path(torch.__file__).parent
    for folder in (package / "lib", package.parent / "torch.libs"):
        for pattern in ("libgomp*.so*", "libiomp5*.so*", "libomp*.so*"):
            yield from sorted(folder.glob(pattern))
