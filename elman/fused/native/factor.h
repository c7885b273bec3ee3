// The gradients of matrices: one product over all steps and rows, after the loop.
#pragma once

#include "steps.h"
#include "team.h"

namespace elman {

// Elements of scratch memory: for all threads together, and for each.
template <class T> int64_t factor_shared(const Run& run);
template <class T> int64_t factor_own(const Run& run);

// Called by every thread of a team.
template <class T>
void factor(const Run& run, const Factor& f, const Steps<T>& steps, T* shared, T* own, Barrier& barrier, int thread,
            int threads);

}  // namespace elman
