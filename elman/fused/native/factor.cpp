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

// Some of the inner size: elements from `start` on, each of one row or (Pair) two, counted over steps × batch.
template <class E> struct Block {
    int64_t begin, batch, rows;  // the first step, and the rows of all steps
    int64_t start, inner;

    // The rows of element k: null where there is none, or its sequence has ended.
    void rows_of(const Steps<Value<E>>& steps, int buffer, int64_t k, const Value<E>** row) const {
        for (int j = 0; j < STEPS<E>; ++j) {
            const int64_t n = (start + k) * STEPS<E> + j, t = begin + n / batch, b = n % batch;
            row[j] = n < rows && t < steps.length(b) ? steps.read_at(buffer, t, b) : nullptr;
        }
    }
};

// The strips of the left side that a thread multiplies at a time: `row` is the first of `rows`.
struct Strips { int64_t count, row, rows; };

template <class E>
void pack_right(const Gradient<E>& g, const Block<E>& block, int64_t first, int64_t last) {
    constexpr int V = LANES<E>;
    const int64_t columns = g.factor->columns, panels = parts(columns, V);
    for (int64_t k = first; k < last; ++k) {
        const Value<E>* from[2] = {};
        block.rows_of(*g.steps, g.factor->right, k, from);
        for (int64_t p = 0; p < panels; ++p)
            store(g.shared + (p * block.inner + k) * V,
                  join<E>(load_some(from[0], p * V, columns), load_some(from[1], p * V, columns)));
    }
}

// `line`: room for one row, where it is made anew.
template <class E>
void pack_left(const Gradient<E>& g, const Block<E>& block, const Strips& strips, E* to, E* line) {
    constexpr int V = LANES<E>;
    const int64_t row = strips.row, rows = strips.rows, inner = block.inner;
    for (int64_t k = 0; k < inner; ++k) {
        const Value<E>* from[2] = {};
        block.rows_of(*g.steps, g.factor->left, k + AHEAD, from);
        for (const Value<E>* ahead : from)
            for (int64_t r = 0; ahead && r < rows; r += V) __builtin_prefetch(ahead + row + r);
        block.rows_of(*g.steps, g.factor->left, k, from);
        const E* left = line;
        if constexpr (STEPS<E> == 1) left = from[0] ? from[0] + row : nullptr;
        else
            for (int64_t r = 0; r < rows; r += V)
                store(line + r, join<E>(load_some(from[0], row + r, g.factor->rows), load_some(from[1], row + r, g.factor->rows)));
        int64_t s = 0;
        if (left && k + 1 < inner)  // what is copied too much, the next element of a strip writes over
            for (; (s + 1) * HEIGHT + WIDE - HEIGHT <= rows; ++s)
                __builtin_memcpy(to + (s * inner + k) * HEIGHT, left + s * HEIGHT, WIDE * sizeof(E));
        for (; s < strips.count; ++s) {
            const int64_t height = rows - s * HEIGHT < HEIGHT ? rows - s * HEIGHT : HEIGHT;
            copy_or_zero(to + s * HEIGHT * inner + k * height, left + s * HEIGHT, left ? height : 0, height);
        }
    }
}

// `edge`: room for a block of results that has none in `out`.
template <class E>
void multiply_strips(const Gradient<E>& g, int64_t inner, const Strips& strips, const E* left, bool accumulate,
                     Value<E>* edge) {
    using T = Value<E>;
    constexpr int V = LANES<E>;
    const Factor& f = *g.factor;
    const int64_t panels = parts(f.columns, V), groups = parts(panels, PANELS);
    for (int64_t n = 0; n < groups; ++n) {
        const int64_t first = part(panels, groups, n), count = part(panels, groups, n + 1) - first;
        const E* w[PANELS];
        for (int64_t p = 0; p < count; ++p) w[p] = g.shared + (first + p) * inner * V;
        const bool fits = (first + count) * V <= f.columns;
        for (int64_t s = 0; s < strips.count; ++s) {
            const int64_t height = strips.rows - s * HEIGHT < HEIGHT ? strips.rows - s * HEIGHT : HEIGHT;
            T* const out = static_cast<T*>(f.out) + (strips.row + s * HEIGHT) * f.out_row + first * V;
            T* c[PANELS];
            for (int64_t p = 0; p < count; ++p) c[p] = (fits ? out : edge) + p * V;
            const E* a = left + s * HEIGHT * inner;
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

template <class E> bool same_left(const Gradient<E>& a, const Gradient<E>& b) {
    const Buffer &one = a.run->buffers[a.factor->left], &other = b.run->buffers[b.factor->left];
    return a.factor->rows == b.factor->rows && one.at == other.at && one.step == other.step && one.row == other.row &&
           one.ring == other.ring && one.shift == 0 && other.shift == 0;
}

template <class E>
void add_up(const Gradient<E>* gradients, int count, int64_t begin, int64_t end, bool fresh, E* own, Barrier& barrier,
            int thread, int threads) {
    const Run& run = *gradients->run;
    const int64_t rows = gradients->factor->rows, strips = parts(rows, HEIGHT);
    const int64_t first_strip = part(strips, threads, thread), last_strip = part(strips, threads, thread + 1);
    const int64_t at_once = strips_at_once<E>(run), all_rows = (end - begin) * run.batch, all = elements<E>(all_rows);
    E* const line = own + at_once * HEIGHT * depth<E>(run);
    Value<E>* const edge = reinterpret_cast<Value<E>*>(line + at_once * HEIGHT + LANES<E>);
    static_assert(sizeof(Value<E>) == sizeof(E));
    for (int64_t start = 0; start < all; start += DEPTH) {
        const Block<E> block{begin, run.batch, all_rows, start, all - start < DEPTH ? all - start : DEPTH};
        barrier.wait(threads);  // until no one reads the panels of the block before
        for (int g = 0; g < count; ++g)
            pack_right(gradients[g], block, part(block.inner, threads, thread), part(block.inner, threads, thread + 1));
        barrier.wait(threads);
        for (int64_t strip = first_strip; strip < last_strip; strip += at_once) {
            const int64_t here = last_strip - strip < at_once ? last_strip - strip : at_once, row = strip * HEIGHT;
            const Strips some{here, row, (rows < row + here * HEIGHT ? rows : row + here * HEIGHT) - row};
            pack_left(*gradients, block, some, own, line);
            for (int g = 0; g < count; ++g) {
                const bool accumulate = gradients[g].factor->accumulate || !fresh || start > 0;
                multiply_strips(gradients[g], block.inner, some, own, accumulate, edge);
            }
        }
    }
}

#define INSTANCES(E) \
    template int64_t factor_shared<E>(const Run&); \
    template int64_t factor_own<E>(const Run&); \
    template bool same_left<E>(const Gradient<E>&, const Gradient<E>&); \
    template void add_up<E>(const Gradient<E>*, int, int64_t, int64_t, bool, E*, Barrier&, int, int);
INSTANCES(float)
INSTANCES(double)
INSTANCES(Pair)

}  // namespace elman
