"""Memory for large temporary values, used again instead of given back.

What one scan writes and the next one writes again (packed weights, what the gradient reads) is megabytes
that live for milliseconds. The C library gives such memory back to the system each time, and the system
clears every page of it when it is touched next: of a small network's step that can be a third. So blocks are
kept here while they are in use again and again.
"""

import mmap
import sys
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

#: Smaller ones are left to the C library, which keeps those itself.
SMALLEST = 64 * 1024

#: Larger ones are whole huge pages, of which the system hands out one where it would clear 512 others.
HUGE = 2 * 1024 * 1024

#: A free block that was not lent at so many loans is given back to the system.
UNUSED = 256


@dataclass(slots=True)
class _Block:
    memory: mmap.mmap
    size: int
    lent: int  # number of the loan

    def free(self) -> bool:
        """Whether no tensor is left that lies here: each holds a reference to its memory."""
        return sys.getrefcount(self.memory) == 2  # the one of this block, and the argument


class Pool:
    """Blocks of memory, each lent to one tensor at a time: until nothing refers to that or a view of it."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._loans = 0
        self._lock = Lock()

    def lend(self, like: Tensor, elements: int) -> Tensor:
        """A tensor (elements) of the type of ``like``, not filled.

        >>> like = torch.zeros(1)
        >>> first = Pool().lend(like, 100_000)
        >>> first.shape, first.dtype
        (torch.Size([100000]), torch.float32)
        """
        needed = elements * like.element_size()
        if needed < SMALLEST or like.device.type != "cpu":
            return like.new_empty(elements)
        with self._lock:
            memory = self._take(needed)
        return torch.frombuffer(memory, dtype=like.dtype, count=elements)

    def bytes(self) -> int:
        """Of all blocks, lent or free."""
        return sum(block.size for block in self._blocks)

    def _take(self, needed: int) -> mmap.mmap:
        self._loans += 1
        free = [block for block in self._blocks if block.free()]
        unused = {id(block) for block in free if self._loans - block.lent > UNUSED}
        if unused:
            self._blocks = [block for block in self._blocks if id(block) not in unused]
        fitting = [block for block in free if needed <= block.size <= 2 * needed and id(block) not in unused]
        if fitting:
            chosen = min(fitting, key=lambda block: block.size)
        else:
            chosen = _new(needed)
            self._blocks.append(chosen)
        chosen.lent = self._loans
        return chosen.memory


def _new(needed: int) -> _Block:
    whole = HUGE if needed >= HUGE else SMALLEST
    size = -(-needed // whole) * whole
    # Private, so that a forked process has its own.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return _Block(memory, size, 0)


#: The one of this process.
POOL = Pool()
