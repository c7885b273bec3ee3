#include "gemm.h"

#include <utility>

namespace elman {
namespace {

// The longest inner size between two visits of the accumulators to memory: so much of the panels of a block stays
// in the second cache while the next rows pass over it.
constexpr int64_t LENGTH = 1024;

// R rows × P panels in registers. With few accumulators two chains alternate, since each multiply-add waits
// for the one before it in its chain. Meanwhile the panel `next` is brought into the second cache.
template <class E, int R, int P, bool STRIP>
void block(const E* const* rows, const E* strip, const E* const* panels, int64_t inner, Value<E>* const* out,
           int64_t stride, bool accumulate, const E* next) {
    using T = Value<E>;
    constexpr int V = LANES<E>, CHAINS = R * P < 8 ? 2 : 1;
    Vector<T> sum[CHAINS][R][P];
    const E* w[P];
    const E* a[STRIP ? 1 : R];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
        w[p] = panels[p];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            if (accumulate) __builtin_prefetch(out[p] + r * stride, 1);  // it is not waited for until the end
            sum[0][r][p] = Vector<T>{};
            if (CHAINS == 2) sum[CHAINS - 1][r][p] = Vector<T>{};
        }
    }
    if constexpr (!STRIP) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) a[r] = rows[r];
    }
    const auto step = [&](int chain, int64_t k) __attribute__((always_inline)) {
        Vector<E> right[P];
        if (!STRIP) __builtin_prefetch(next + k * V, 0, 2);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) right[p] = load(w[p] + k * V);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const E left = STRIP ? strip[k * R + r] : a[r][k];
#pragma GCC unroll 8
            for (int p = 0; p < P; ++p) sum[chain][r][p] = multiply_add(sum[chain][r][p], right[p], left);
        }
    };
    int64_t k = 0;
    if constexpr (CHAINS == 2) {
        for (; k + 1 < inner; k += 2) {
            step(0, k);
            step(1, k + 1);
        }
    }
    for (; k < inner; ++k) step(0, k);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            if (CHAINS == 2) sum[0][r][p] += sum[CHAINS - 1][r][p];
            if (accumulate) sum[0][r][p] += load(out[p] + r * stride);
            store(out[p] + r * stride, sum[0][r][p]);
        }
    }
}

template <class E>
using Block = void (*)(const E* const*, const E*, const E* const*, int64_t, Value<E>* const*, int64_t, bool, const E*);

// All sizes of block that occur; larger ones than the registers hold are left out.
template <class E, bool STRIP, int R, int P> constexpr Block<E> block_or_none() {
    if constexpr (P <= PANELS && R <= rows_beside(P)) return block<E, R, P, STRIP>;
    return nullptr;
}

template <class E, bool STRIP> struct Blocks {
#define ROW(R) {block_or_none<E, STRIP, R, 1>(), block_or_none<E, STRIP, R, 2>(), \
                block_or_none<E, STRIP, R, 3>(), block_or_none<E, STRIP, R, 4>()}
    static constexpr Block<E> of[MOST_ROWS][4] = {ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8)};
#undef ROW
};

// The even (odd) elements of two vectors after each other: interleaves their lanes when done log₂ V times.
template <class T, int... K>
inline void interleave(Vector<T> a, Vector<T> b, Vector<T>& low, Vector<T>& high, std::integer_sequence<int, K...>) {
    constexpr int V = LANES<T>;
    low = __builtin_shufflevector(a, b, (K % 2 ? V + K / 2 : K / 2)...);
    high = __builtin_shufflevector(a, b, (K % 2 ? V + (V + K) / 2 : (V + K) / 2)...);
}

// A square of V × V elements turned over its diagonal: log₂ V rounds, in each of which vector k is interleaved
// with vector k + V / 2.
template <class E> inline void turn(const Value<E>* from, int64_t row, E* to) {
    constexpr int V = LANES<E>;
    Vector<E> a[V], b[V];
#pragma GCC unroll 16
    for (int k = 0; k < V; ++k) a[k] = neighbours<E>(from + k * row);
#pragma GCC unroll 4
    for (int round = 1; round < V; round *= 2) {
#pragma GCC unroll 8
        for (int k = 0; k < V / 2; ++k)
            interleave<E>(a[k], a[k + V / 2], b[2 * k], b[2 * k + 1], std::make_integer_sequence<int, V>{});
#pragma GCC unroll 16
        for (int k = 0; k < V; ++k) a[k] = b[k];
    }
#pragma GCC unroll 16
    for (int k = 0; k < V; ++k) store(to + k * V, a[k]);
}

}  // namespace

template <class E>
void multiply(const E* const* rows, int64_t row_count, const E* const* panels, int64_t panel_count,
              int64_t inner, Value<E>* const* out, int64_t stride, int64_t ahead, int64_t turn) {
    const int64_t groups = parts(panel_count, PANELS), lengths = inner > LENGTH ? parts(inner, LENGTH) : 1;
    for (int64_t n = 0; n < lengths; ++n) {
        const int64_t start = part(inner, lengths, n), length = part(inner, lengths, n + 1) - start;
        for (int64_t g = 0; g < groups; ++g) {
            const int64_t first = part(panel_count, groups, g), count = part(panel_count, groups, g + 1) - first;
            const E* w[PANELS];
            for (int64_t p = 0; p < count; ++p) w[p] = panels[first + p] + start * LANES<E>;
            const int64_t strips = parts(row_count, rows_beside(static_cast<int>(count)));
            for (int64_t s = 0; s < strips; ++s) {
                const int64_t row = part(row_count, strips, s), height = part(row_count, strips, s + 1) - row;
                const E* a[MOST_ROWS];
                Value<E>* c[PANELS];
                for (int64_t r = 0; r < height; ++r) a[r] = rows[row + r] + start;
                for (int64_t p = 0; p < count; ++p) c[p] = out[first + p] + row * stride;
                const E* const next = w[(turn + s) % count] + ahead;
                Blocks<E, false>::of[height - 1][count - 1](a, nullptr, w, length, c, stride, start > 0, next);
            }
        }
    }
}

template <class E>
void multiply_strip(const E* strip, int64_t rows, const E* const* panels, int64_t panel_count,
                    int64_t inner, Value<E>* const* out, int64_t stride, bool accumulate) {
    Blocks<E, true>::of[rows - 1][panel_count - 1](nullptr, strip, panels, inner, out, stride, accumulate, nullptr);
}

// One panel of columns from rows that each lie in one piece.
template <class E>
void pack_rows(const Value<E>* from, int64_t step_k, int64_t inner, E* to) {
    constexpr int V = LANES<E>;
    for (int64_t k = 0; k < inner; k += STEPS<E>, to += V) {
        const int64_t next = k + STEPS<E> - 1;
        store(to, join<E>(load(from + k * step_k), next < inner ? load(from + next * step_k) : Vector<Value<E>>{}));
    }
}

template <class E>
void pack_panel(const Value<E>* from, int64_t step_k, int64_t step_n, int64_t inner, int64_t columns, E* to) {
    constexpr int V = LANES<E>;
    if (step_n == 1 && columns >= V) return pack_rows(from, step_k, inner, to);
    const int64_t valid = columns < V ? columns : V;
    constexpr int64_t SQUARE = V * STEPS<E>;
    int64_t k = 0;
    if (step_k == 1 && valid == V)
        for (; k + SQUARE <= inner; k += SQUARE, to += V * V) turn(from + k, step_n, to);
    // A square at a time, so that reading along k and writing along n both stay within a few cache lines.
    for (; k < inner; k += SQUARE, to += V * V) {
        const int64_t steps = k + SQUARE < inner ? SQUARE : inner - k;
        Value<E> row[SQUARE] = {};
        E line[V];
        for (int64_t n = 0; n < V; ++n) {
            for (int64_t j = 0; j < steps; ++j) row[j] = n < valid ? from[(k + j) * step_k + n * step_n] : 0;
            store(line, neighbours<E>(row));
            for (int64_t j = 0; j < elements<E>(steps); ++j) to[j * V + n] = line[j];
        }
    }
}

#define INSTANCES(E) \
    template void multiply<E>(const E* const*, int64_t, const E* const*, int64_t, int64_t, Value<E>* const*, int64_t, int64_t, int64_t); \
    template void multiply_strip<E>(const E*, int64_t, const E* const*, int64_t, int64_t, Value<E>* const*, int64_t, bool); \
    template void pack_panel<E>(const Value<E>*, int64_t, int64_t, int64_t, int64_t, E*);
INSTANCES(float)
INSTANCES(double)
INSTANCES(Pair)

}  // namespace elman
