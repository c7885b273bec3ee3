// Matrix products on packed panels.
//
// The right-hand matrix lies in panels: one vector of columns wide and as long as the inner size, so that each
// step of the inner loop reads the next vector. The left-hand one is rows, or strips packed row beside row.
// Both consist of elements E, and `inner` counts those (see bfloat16.h).
#pragma once

#include "bfloat16.h"

namespace elman {

// The widest block of panels done at once, and the most rows beside it that the vector registers hold.
constexpr int PANELS = VECTOR_REGISTERS >= 32 ? 4 : 2;
constexpr int MOST_ROWS = 8;
constexpr int rows_beside(int panels) {
    const int fit = (VECTOR_REGISTERS - 2 - panels) / panels;
    return fit < MOST_ROWS ? fit : MOST_ROWS;
}

// How many parts of at most `most` a whole falls into, and where part k of even parts begins.
inline int64_t parts(int64_t whole, int64_t most) { return (whole + most - 1) / most; }
inline int64_t part(int64_t whole, int64_t count, int64_t k) { return whole * k / count; }

// out[p][r · stride + lane] = Σ_k rows[r][k] · panels[p][k · LANES + lane], any number of rows and panels.
//
// The panels multiplied next are asked for meanwhile, one of them by each call and strip of rows: they lie `ahead`
// elements behind these, and `turn` says whose turn it is. Without it the first rows would wait for memory.
template <class E>
void multiply(const E* const* rows, int64_t row_count, const E* const* panels, int64_t panel_count,
              int64_t inner, Value<E>* const* out, int64_t stride, int64_t ahead, int64_t turn);

// The same (+)= for one strip: `strip[k · rows + r]`, at most rows_beside(PANELS) rows and PANELS panels.
template <class E>
void multiply_strip(const E* strip, int64_t rows, const E* const* panels, int64_t panel_count,
                    int64_t inner, Value<E>* const* out, int64_t stride, bool accumulate);

// One panel of columns from a matrix of `inner` rows in any layout: its value (k, n) is at
// from[k · step_k + n · step_n]. Columns past `columns` become zero.
template <class E>
void pack_panel(const Value<E>* from, int64_t step_k, int64_t step_n, int64_t inner, int64_t columns, E* to);

}  // namespace elman
