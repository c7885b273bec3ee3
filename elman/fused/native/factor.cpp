#include "factor.h"

#include "gemm.h"

namespace elman {
namespace {

// Rows (steps × batch) that are multiplied before the result is visited again.
constexpr int64_t DEPTH = 1024;
// Bytes of packed left side that a thread keeps in its second cache.
constexpr int64_t LEFT_BYTES = 256 * 1024;
constexpr int HEIGHT = rows_beside(PANELS);

template <class T> int64_t depth(const Run& run) {
    const int64_t all_rows = run.steps * run.batch;
    return all_rows < DEPTH ? all_rows : DEPTH;
}

// Strips of the left side that fit.
template <class T> int64_t strips_at_once(const Run& run) {
    const int64_t fit = LEFT_BYTES / static_cast<int64_t>(sizeof(T)) / (depth<T>(run) * HEIGHT);
    return fit < 1 ? 1 : fit;
}

// Columns `first` … `first + count` of one row of a panel or strip; zeros where the row has ended or the columns have.
template <class T> inline void copy_or_zero(T* to, const T* from, int64_t count, int64_t width) {
    copy(to, from, count);
    fill(to + count, T(0), width - count);
}

}  // namespace

template <class T> int64_t factor_shared(const Run& run) {
    int64_t widest = 0;
    for (int64_t k = 0; k < run.factor_count; ++k) {
        const int64_t panels = parts(run.factors[k].columns, LANES<T>);
        widest = panels > widest ? panels : widest;
    }
    return widest * LANES<T> * depth<T>(run);
}

template <class T> int64_t factor_own(const Run& run) {
    return run.factor_count == 0 ? 0 : (strips_at_once<T>(run) + 1) * HEIGHT * depth<T>(run) + HEIGHT * PANELS * LANES<T>;
}

template <class T>
void factor(const Run& run, const Factor& f, const Steps<T>& steps, T* shared, T* own, Barrier& barrier, int thread,
            int threads) {
    constexpr int V = LANES<T>;
    const int64_t all_rows = run.steps * run.batch, panels = parts(f.columns, V), strips = parts(f.rows, HEIGHT);
    const int64_t first_strip = part(strips, threads, thread), last_strip = part(strips, threads, thread + 1);
    const int64_t at_once = strips_at_once<T>(run);
    T* const edge = own + (at_once + 1) * HEIGHT * depth<T>(run);  // a block of results that has no room in `out`
    const auto row_of = [&](int buffer, int64_t k) {
        const int64_t t = k / run.batch, b = k % run.batch;
        return t < steps.length(b) ? steps.read_at(buffer, t, b) : nullptr;
    };
    for (int64_t start = 0; start < all_rows; start += DEPTH) {
        const int64_t inner = all_rows - start < DEPTH ? all_rows - start : DEPTH;
        const bool accumulate = f.accumulate || start > 0;
        barrier.wait(threads);  // until no one reads the panels of the block before
        for (int64_t k = part(inner, threads, thread); k < part(inner, threads, thread + 1); ++k) {
            const T* from = row_of(f.right, start + k);
            for (int64_t p = 0; p < panels; ++p) {
                T* to = shared + (p * inner + k) * V;
                const int64_t valid = f.columns - p * V < V ? f.columns - p * V : V;
                if (from && valid == V) store(to, load(from + p * V));
                else copy_or_zero(to, from + p * V, from ? valid : 0, V);
            }
        }
        barrier.wait(threads);
        for (int64_t strip = first_strip; strip < last_strip; strip += at_once) {
            const int64_t here = last_strip - strip < at_once ? last_strip - strip : at_once;
            const int64_t row = strip * HEIGHT, rows = (f.rows < (strip + here) * HEIGHT ? f.rows : (strip + here) * HEIGHT) - row;
            for (int64_t k = 0; k < inner; ++k) {
                const T* from = row_of(f.left, start + k);
                for (int64_t s = 0; s < here; ++s) {
                    const int64_t height = rows - s * HEIGHT < HEIGHT ? rows - s * HEIGHT : HEIGHT;
                    T* to = own + s * HEIGHT * inner + k * height;
                    if (from && height == HEIGHT) __builtin_memcpy(to, from + row + s * HEIGHT, HEIGHT * sizeof(T));
                    else copy_or_zero(to, from + row + s * HEIGHT, from ? height : 0, height);
                }
            }
            const int64_t groups = parts(panels, PANELS);
            for (int64_t g = 0; g < groups; ++g) {
                const int64_t first = part(panels, groups, g), count = part(panels, groups, g + 1) - first;
                const T* w[PANELS];
                for (int64_t p = 0; p < count; ++p) w[p] = shared + (first + p) * inner * V;
                const bool fits = (first + count) * V <= f.columns;
                for (int64_t s = 0; s < here; ++s) {
                    const int64_t height = rows - s * HEIGHT < HEIGHT ? rows - s * HEIGHT : HEIGHT;
                    T* const out = static_cast<T*>(f.out) + (row + s * HEIGHT) * f.out_row + first * V;
                    T* c[PANELS];
                    for (int64_t p = 0; p < count; ++p) c[p] = (fits ? out : edge) + p * V;
                    const T* a = own + s * HEIGHT * inner;
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

#define INSTANCES(T) \
    template int64_t factor_shared<T>(const Run&); \
    template int64_t factor_own<T>(const Run&); \
    template void factor<T>(const Run&, const Factor&, const Steps<T>&, T*, T*, Barrier&, int, int);
INSTANCES(float)
INSTANCES(double)

}  // namespace elman
