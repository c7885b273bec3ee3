// Products of few rows with weights that were packed once, perhaps in fewer bits.
//
// So few rows that reading the weights is what takes the time. They lie in panels as in gemm.h, those of a group
// one after another: first by the units they belong to, then by product. Each thread reads one stretch of memory.
#pragma once

#include "plan.h"

namespace elman {

// How a weight is kept: as it is; as the upper half of it; as a whole number from −127 to 127, times a scale.
enum : int64_t { FLOAT32, BFLOAT16, INT8 };

// out(panel)[r · stride + lane] = Σ_k rows[r][k] · panel[k][lane] for `count` panels from `first` on. Panel n goes
// to product n mod products, tile column n / products: out(n) = to + (n mod products) · size + (n / products) · LANES.
void multiply_packed(const Weights& weights, int64_t inner, const float* const* rows, int64_t row_count,
                     int64_t first, int64_t count, int64_t products, float* to, int64_t size, int64_t stride);

}  // namespace elman
