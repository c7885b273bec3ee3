// A whole scan in one call: all steps of all stages, and the large products that follow.
#pragma once

#include "plan.h"

namespace elman {

// How many bytes of scratch memory a run needs, at its number of threads.
template <class T> int64_t scratch_bytes(const Run& run);

template <class T> void scan(const Run& run);

}  // namespace elman
