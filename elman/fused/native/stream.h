// One step of a whole stack, on weights that were packed once.
#pragma once

#include <array>

#include "plan.h"

namespace elman {

// The arguments of a step, in the order of Port::argument; `before` and `after` may not overlap.
enum : int32_t { INPUT, BEFORE, OUTPUT, AFTER, ARGUMENTS };

void step(const Stream& stream, const std::array<float*, ARGUMENTS>& arguments);

}  // namespace elman
