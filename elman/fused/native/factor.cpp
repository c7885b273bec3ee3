#include "factor.h"

#include "gemm.h"

namespace elman {
namespace {

// Elements of the inner size (steps × batch) that are multiplied before the result is visited again.
constexpr int64_t DEPTH = 1024;
// Bytes of packed left side that a thread keeps in its second cache.
constexpr int64_t LEFT_BYTES = 256 * 1024;
// Rows of a wide left side lie far apart, where no processor looks ahead by itself: so many elements of the inner
// size before they are packed they are asked for.
constexpr int64_t AHEAD = 3;
constexpr int HEIGHT = rows_beside(PANELS);
// A row of a strip is copied as one vector of this size, which is at least as long.
constexpr int WIDE = HEIGHT <= 4 ? 4 : 8;

template <class E> int64_t depth(const Run& run) {
    const int64_t all_rows = elements<E>(run.chunk * run.batch);
    return all_rows < DEPTH ? all_rows : DEPTH;
}

// Strips of the left side that fit.
template <class E> int64_t strips_at_once(const Run& run) {
    const int64_t fit = LEFT_BYTES / static_cast<int64_t>(sizeof(E)) / (depth<E>(run) * HEIGHT);
    return fit < 1 ? 1 : fit;
}

// Columns `first` … `first + count` of one row of a strip; zeros where the row has ended or the columns have.
template <class E> inline void copy_or_zero(E* to, const E* from, int64_t count, int64_t width) {
    copy(to, from, count);
    __builtin_memset(static_cast<void*>(to + count), 0, static_cast<std::size_t>(width - count) * sizeof(E));
}

// A vector of values from `column` on; zeros past `columns`, and of a row that has ended (null).
template <class T> inline Vector<T> load_some(const T* row, int64_t column, int64_t columns) {
    if (!row) return Vector<T>{};
    if (column + LANES<T> <= columns) return load(row + column);
    T some[LANES<T>] = {};
    for (int64_t j = column; j < columns; ++j) some[j - column] = row[j];
    return load(some);
}

}  // namespace

template <class E> int64_t factor_shared(const Run& run) {
    int64_t widest = 0;
    for (int64_t k = 0; k < run.factor_count; ++k) {
        const int64_t panels = parts(run.factors[k].columns, LANES<E>);
        widest = panels > widest ? panels : widest;
    }
    return widest * LANES<E> * depth<E>(run);
}

template <class E> int64_t factor_own(const Run& run) {
    const int64_t line = strips_at_once<E>(run) * HEIGHT + LANES<E>;
    return run.factor_count == 0 ? 0 : strips_at_once<E>(run) * HEIGHT * depth<E>(run) + line + HEIGHT * PANELS * LANES<E>;
}

template <class E>
void factor(const Run& run, const Factor& f, const Steps<Value<E>>& steps, int64_t begin, int64_t end, bool fresh,
            E* shared, E* own, Barrier& barrier, int thread, int threads) {
    using T = Value<E>;
    static_assert(sizeof(T) == sizeof(E));
    constexpr int V = LANES<E>;
    const int64_t all_rows = (end - begin) * run.batch, panels = parts(f.columns, V), strips = parts(f.rows, HEIGHT);
    const int64_t first_strip = part(strips, threads, thread), last_strip = part(strips, threads, thread + 1);
    const int64_t at_once = strips_at_once<E>(run);
    E* const line = own + at_once * HEIGHT * depth<E>(run);  // one row of the left side, where it is made anew
    T* const edge = reinterpret_cast<T*>(line + at_once * HEIGHT + V);  // a block of results that has no room in `out`
    const auto row_of = [&](int buffer, int64_t k) -> const T* {
        const int64_t t = begin + k / run.batch, b = k % run.batch;
        return k < all_rows && t < steps.length(b) ? steps.read_at(buffer, t, b) : nullptr;
    };
    for (int64_t start = 0; start < elements<E>(all_rows); start += DEPTH) {
        const int64_t inner = elements<E>(all_rows) - start < DEPTH ? elements<E>(all_rows) - start : DEPTH;
        const bool accumulate = f.accumulate || !fresh || start > 0;
        const auto rows_of = [&](int buffer, int64_t k, const T** row) {
            for (int j = 0; j < STEPS<E>; ++j) row[j] = row_of(buffer, (start + k) * STEPS<E> + j);
        };
        barrier.wait(threads);  // until no one reads the panels of the block before
        for (int64_t k = part(inner, threads, thread); k < part(inner, threads, thread + 1); ++k) {
            const T* from[2] = {};
            rows_of(f.right, k, from);
            for (int64_t p = 0; p < panels; ++p)
                store(shared + (p * inner + k) * V,
                      join<E>(load_some(from[0], p * V, f.columns), load_some(from[1], p * V, f.columns)));
        }
        barrier.wait(threads);
        for (int64_t strip = first_strip; strip < last_strip; strip += at_once) {
            const int64_t here = last_strip - strip < at_once ? last_strip - strip : at_once;
            const int64_t row = strip * HEIGHT, rows = (f.rows < (strip + here) * HEIGHT ? f.rows : (strip + here) * HEIGHT) - row;
            for (int64_t k = 0; k < inner; ++k) {
                const T* from[2] = {};
                rows_of(f.left, k + AHEAD, from);
                for (const T* ahead : from)
                    for (int64_t r = 0; ahead && r < rows; r += V) __builtin_prefetch(ahead + row + r);
                rows_of(f.left, k, from);
                const E* left = line;
                if constexpr (STEPS<E> == 1) left = from[0] ? from[0] + row : nullptr;
                else
                    for (int64_t r = 0; r < rows; r += V)
                        store(line + r, join<E>(load_some(from[0], row + r, f.rows), load_some(from[1], row + r, f.rows)));
                int64_t s = 0;
                if (left && k + 1 < inner)  // what is copied too much, the next element of a strip writes over
                    for (; (s + 1) * HEIGHT + WIDE - HEIGHT <= rows; ++s)
                        __builtin_memcpy(own + (s * inner + k) * HEIGHT, left + s * HEIGHT, WIDE * sizeof(E));
                for (; s < here; ++s) {
                    const int64_t height = rows - s * HEIGHT < HEIGHT ? rows - s * HEIGHT : HEIGHT;
                    copy_or_zero(own + s * HEIGHT * inner + k * height, left + s * HEIGHT, left ? height : 0, height);
                }
            }
            const int64_t groups = parts(panels, PANELS);
            for (int64_t g = 0; g < groups; ++g) {
                const int64_t first = part(panels, groups, g), count = part(panels, groups, g + 1) - first;
                const E* w[PANELS];
                for (int64_t p = 0; p < count; ++p) w[p] = shared + (first + p) * inner * V;
                const bool fits = (first + count) * V <= f.columns;
                for (int64_t s = 0; s < here; ++s) {
                    const int64_t height = rows - s * HEIGHT < HEIGHT ? rows - s * HEIGHT : HEIGHT;
                    T* const out = static_cast<T*>(f.out) + (row + s * HEIGHT) * f.out_row + first * V;
                    T* c[PANELS];
                    for (int64_t p = 0; p < count; ++p) c[p] = (fits ? out : edge) + p * V;
                    const E* a = own + s * HEIGHT * inner;
                    if (fits) {
                        multiply_strip(a, height, w, count, inner, c, f.out_row, accumulate);
                        continue;
                    }
                    multiply_strip(a, height, w, count, inner, c, PANELS * V, false);
                    for (int64_t r = 0; r < height; ++r)
                        for (int64_t j = 0; j < f.columns - first * V; ++j)
                            out[r * f.out_row + j] = edge[r * PANELS * V + j] + (accumulate ? out[r * f.out_row + j] : T(0));
                }
            }
        }
    }
}

#define INSTANCES(E) \
    template int64_t factor_shared<E>(const Run&); \
    template int64_t factor_own<E>(const Run&); \
    template void factor<E>(const Run&, const Factor&, const Steps<Value<E>>&, int64_t, int64_t, bool, E*, E*, \
                            Barrier&, int, int);
INSTANCES(float)
INSTANCES(double)
INSTANCES(Pair)

}  // namespace elman
