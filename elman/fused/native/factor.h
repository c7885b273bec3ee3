// The gradients of matrices: one product over all steps and rows, after the loop.
#pragma once

#include "bfloat16.h"
#include "steps.h"
#include "team.h"

namespace elman {

// Elements of scratch memory: for all threads together, and for each.
template <class E> int64_t factor_shared(const Run& run);
template <class E> int64_t factor_own(const Run& run);

// What the steps from `begin` on, before `end`, add to a gradient; to nothing if it is `fresh`. Called by every
// thread of a team.
template <class E>
void factor(const Run& run, const Factor& f, const Steps<Value<E>>& steps, int64_t begin, int64_t end, bool fresh,
            E* shared, E* own, Barrier& barrier, int thread, int threads);

}  // namespace elman
