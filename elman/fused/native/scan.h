// A whole scan in one call: all steps of all stages, and the large products that follow.
#pragma once

#include "plan.h"

namespace elman {

// How many bytes of scratch memory a run needs, at its number of threads. E is what products multiply (bfloat16.h).
template <class E> int64_t scratch_bytes(const Run& run);

template <class E> void scan(const Run& run);

// Several, layer by layer: those of a layer on one team.
template <class E> void scan(const Job* jobs, int64_t count);

}  // namespace elman
