#include "gemm.h"

#include <utility>

namespace elman {
namespace {

// Inner steps between two visits of the accumulators to memory: the panels of so many steps stay in the first
// cache while the next rows pass over them.
constexpr int64_t BLOCK = 256;

// R rows × P panels in registers. With few accumulators two chains alternate, since each multiply-add waits
// for the one before it in its chain.
template <class T, int R, int P, bool STRIP>
void block(const T* const* rows, const T* strip, const T* const* panels, int64_t inner, T* const* out,
           int64_t stride, bool accumulate) {
    constexpr int V = LANES<T>, CHAINS = R * P < 8 ? 2 : 1;
    Vector<T> sum[CHAINS][R][P];
    const T* w[P];
    const T* a[STRIP ? 1 : R];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
        w[p] = panels[p];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            sum[0][r][p] = accumulate ? load(out[p] + r * stride) : Vector<T>{};
            if (CHAINS == 2) sum[CHAINS - 1][r][p] = Vector<T>{};
        }
    }
    if constexpr (!STRIP) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) a[r] = rows[r];
    }
    const auto step = [&](int chain, int64_t k) __attribute__((always_inline)) {
        Vector<T> right[P];
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) right[p] = load(w[p] + k * V);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const T left = STRIP ? strip[k * R + r] : a[r][k];
#pragma GCC unroll 8
            for (int p = 0; p < P; ++p) sum[chain][r][p] += right[p] * left;
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
            store(out[p] + r * stride, sum[0][r][p]);
        }
    }
}

template <class T>
using Block = void (*)(const T* const*, const T*, const T* const*, int64_t, T* const*, int64_t, bool);

// All sizes of block that occur; larger ones than the registers hold are left out.
template <class T, bool STRIP, int R, int P> constexpr Block<T> block_or_none() {
    if constexpr (P <= PANELS && R <= rows_beside(P)) return block<T, R, P, STRIP>;
    return nullptr;
}

template <class T, bool STRIP> struct Blocks {
#define ROW(R) {block_or_none<T, STRIP, R, 1>(), block_or_none<T, STRIP, R, 2>(), \
                block_or_none<T, STRIP, R, 3>(), block_or_none<T, STRIP, R, 4>()}
    static constexpr Block<T> of[MOST_ROWS][4] = {ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8)};
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
template <class T> inline void turn(const T* from, int64_t row, T* to) {
    constexpr int V = LANES<T>;
    Vector<T> a[V], b[V];
#pragma GCC unroll 16
    for (int k = 0; k < V; ++k) a[k] = load(from + k * row);
#pragma GCC unroll 4
    for (int round = 1; round < V; round *= 2) {
#pragma GCC unroll 8
        for (int k = 0; k < V / 2; ++k)
            interleave<T>(a[k], a[k + V / 2], b[2 * k], b[2 * k + 1], std::make_integer_sequence<int, V>{});
#pragma GCC unroll 16
        for (int k = 0; k < V; ++k) a[k] = b[k];
    }
#pragma GCC unroll 16
    for (int k = 0; k < V; ++k) store(to + k * V, a[k]);
}

}  // namespace

template <class T>
void multiply(const T* const* rows, int64_t row_count, const T* const* panels, int64_t panel_count,
              int64_t inner, T* const* out, int64_t stride, bool accumulate) {
    const int64_t groups = parts(panel_count, PANELS);
    for (int64_t start = 0; start == 0 || start < inner; start += BLOCK) {
        const int64_t length = inner - start < BLOCK ? inner - start : BLOCK;
        for (int64_t g = 0; g < groups; ++g) {
            const int64_t first = part(panel_count, groups, g), count = part(panel_count, groups, g + 1) - first;
            const T* w[PANELS];
            for (int64_t p = 0; p < count; ++p) w[p] = panels[first + p] + start * LANES<T>;
            const int64_t strips = parts(row_count, rows_beside(static_cast<int>(count)));
            for (int64_t s = 0; s < strips; ++s) {
                const int64_t row = part(row_count, strips, s), height = part(row_count, strips, s + 1) - row;
                const T* a[MOST_ROWS];
                T* c[PANELS];
                for (int64_t r = 0; r < height; ++r) a[r] = rows[row + r] + start;
                for (int64_t p = 0; p < count; ++p) c[p] = out[first + p] + row * stride;
                Blocks<T, false>::of[height - 1][count - 1](a, nullptr, w, length, c, stride, accumulate || start > 0);
            }
        }
    }
}

template <class T>
void multiply_strip(const T* strip, int64_t rows, const T* const* panels, int64_t panel_count,
                    int64_t inner, T* const* out, int64_t stride, bool accumulate) {
    Blocks<T, true>::of[rows - 1][panel_count - 1](nullptr, strip, panels, inner, out, stride, accumulate);
}

template <class T>
void pack_panel(const T* from, int64_t step_k, int64_t step_n, int64_t inner, int64_t columns, T* to) {
    constexpr int V = LANES<T>;
    if (step_n == 1 && columns >= V) {
        for (int64_t k = 0; k < inner; ++k) store(to + k * V, load(from + k * step_k));
        return;
    }
    const int64_t valid = columns < V ? columns : V;
    int64_t k = 0;
    if (step_k == 1 && valid == V)
        for (; k + V <= inner; k += V) turn(from + k, step_n, to + k * V);
    // A square at a time, so that reading along k and writing along n both stay within a few cache lines.
    for (; k < inner; k += V) {
        const int64_t stop = k + V < inner ? k + V : inner;
        for (int64_t n = 0; n < valid; ++n)
            for (int64_t j = k; j < stop; ++j) to[j * V + n] = from[j * step_k + n * step_n];
        for (int64_t j = k; j < stop; ++j)
            for (int64_t n = valid; n < V; ++n) to[j * V + n] = 0;
    }
}

#define INSTANCES(T) \
    template void multiply<T>(const T* const*, int64_t, const T* const*, int64_t, int64_t, T* const*, int64_t, bool); \
    template void multiply_strip<T>(const T*, int64_t, const T* const*, int64_t, int64_t, T* const*, int64_t, bool); \
    template void pack_panel<T>(const T*, int64_t, int64_t, int64_t, int64_t, T*);
INSTANCES(float)
INSTANCES(double)

}  // namespace elman
