// The gradients of matrices: one product over all steps and rows, after the loop.
#pragma once

#include "bfloat16.h"
#include "steps.h"
#include "team.h"

namespace elman {

// Elements of scratch memory: for all threads together, and for each.
template <class E> int64_t factor_shared(const Run& run);
template <class E> int64_t factor_own(const Run& run);

// The gradient of one matrix of a run, and memory that all threads share for the right side of its product.
template <class E> struct Gradient {
    const Run* run;
    const Factor* factor;
    const Steps<Value<E>>* steps;
    E* shared;
};

// Whether two have the same left side.
template <class E> bool same_left(const Gradient<E>& a, const Gradient<E>& b);

// What the steps from `begin` on, before `end`, add to gradients with one left side, which is packed once for all;
// to nothing if they are `fresh`. Called by every thread of a team.
template <class E>
void add_up(const Gradient<E>* gradients, int count, int64_t begin, int64_t end, bool fresh, E* own, Barrier& barrier,
            int thread, int threads);

}  // namespace elman
