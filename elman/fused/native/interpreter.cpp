#include "interpreter.h"

#include <type_traits>
#include <utility>

#include "gemm.h"
#include "gemv.h"

namespace elman {
namespace {

inline int64_t whole_vectors(int64_t columns, int lanes) { return (columns + lanes - 1) / lanes * lanes; }

// The lanes turned by STEP places.
template <int STEP, class T, int... K> inline Vector<T> turned(Vector<T> v, std::integer_sequence<int, K...>) {
    return __builtin_shufflevector(v, v, ((K + STEP) % LANES<T>)...);
}

// What `function` makes of all lanes, in each of them.
template <class T, int STEP, class Function> inline Vector<T> across(Vector<T> v, Function function) {
    if constexpr (STEP == 0) return v;
    else return across<T, STEP / 2>(function(v, turned<STEP, T>(v, std::make_integer_sequence<int, LANES<T>>{})), function);
}

// Σ or maximum over the n real columns of a register, in all lanes of another. `start` changes neither.
template <class T, class Function> inline void reduce(T* to, const T* from, int64_t n, T start, Function function) {
    constexpr int V = LANES<T>;
    Vector<T> part = all(start);
    int64_t k = 0;
    for (; k + V <= n; k += V) part = function(part, load(from + k));
    if (k < n) {
        T rest[V];
        store(rest, all(start));
        copy(rest, from + k, n - k);
        part = function(part, load(rest));
    }
    store(to, across<T, V / 2>(part, function));
}

}  // namespace

template <class E> void Interpreter<E>::prepare(const Stage& stage, int64_t row, int64_t rows) const {
    if constexpr (STEPS<E> == 2) {
        E* to = sides;
        for (int32_t k = 0; k < stage.count; ++k) {
            const Instruction& i = run.instructions[stage.first + k];
            if (i.op != Op::product) continue;
            const Group& group = run.groups[i.a];
            const int64_t inner = elements<E>(group.inner);
            side_of[i.a] = to - sides - row * inner;
            for (int64_t r = row; r < row + rows; ++r, to += inner)
                pair_up(steps.read(group.buffer, r) + group.offset, group.inner, to);
        }
    }
}

template <class E>
void Interpreter<E>::product(const Group& group, int index, const Tile& tile, int64_t width, Values<T> to) const {
    constexpr int V = LANES<T>;
    const int64_t inner = elements<E>(group.inner);
    const E* rows[TILE_VECTORS];
    for (int64_t r = 0; r < tile.rows; ++r) {
        if constexpr (STEPS<E> == 2) rows[r] = sides + side_of[index] + (tile.row + r) * inner;
        else rows[r] = steps.read(group.buffer, tile.row + r) + group.offset;
    }
    if constexpr (std::is_same_v<E, float>) {
        if (run.weights != nullptr) {
            const int64_t first = tile.unit / V * group.count, count = width / V * group.count;
            multiply_packed(run.weights[index], inner, rows, tile.rows, first, count, group.count, to.at, tile.size,
                            to.row);
            return;
        }
    }
    // The panels of this tile: for each product those of its units. Many products go in several rounds.
    constexpr int MOST = 32;
    const E* panels[MOST];
    T* out[MOST];
    int64_t count = 0;
    const int64_t per_product = parts(group.units, V), first = tile.unit / V, across = width / V;
    const auto run_round = [&] {
        multiply(rows, tile.rows, panels, count, inner, out, to.row, across * inner * V, tile.turn);
        count = 0;
    };
    for (int p = 0; p < group.count; ++p)
        for (int64_t j = 0; j < across; ++j) {
            panels[count] = packed + packed_groups[index] + (p * per_product + first + j) * inner * V;
            out[count] = to.at + p * tile.size + j * V;
            if (++count == MOST) run_round();
        }
    if (count > 0) run_round();
}

template <class E> void Interpreter<E>::fetch(const Stage& stage, const Tile& tile) const {
    for (int32_t k = 0; k < stage.count; ++k) {
        const Instruction& i = run.instructions[stage.first + k];
        if ((i.op != Op::load && i.op != Op::store) || i.width == 1) continue;
        const Buffer& buffer = run.buffers[i.buffer];
        if (buffer.ring || buffer.shift) continue;  // there already
        for (int64_t r = 0; r < tile.rows; ++r) {
            const T* at = steps.write(i.buffer, tile.row + r) + i.offset + tile.unit;
            for (int64_t j = 0; j < tile.units; j += LANES<T>) __builtin_prefetch(at + j);
        }
    }
}

template <class E> void Interpreter<E>::tile(const Stage& stage, const Tile& tile) const {
    constexpr int V = LANES<T>;
    const int64_t width = whole_vectors(tile.units, V);
    const bool whole = steps.all_active();
    // Where a vector is not full copies are made. Of rows that have ended anything may be read, and what is made of it
    // stays theirs: it is not added up, and zeros are stored over it.
    const bool in_place = width == tile.units;
    const auto active = [&](int64_t r) { return whole || steps.active(tile.row + r); };
    bool any = whole;
    for (int64_t r = 0; !any && r < tile.rows; ++r) any = active(r);
    for (int32_t k = 0; k < stage.count; ++k) {
        const Instruction& i = run.instructions[stage.first + k];
        if (!any && i.op != Op::store) continue;  // all rows have ended: only zeros leave
        const bool one = i.width == 1;            // one value per row, spread over the units
        const Values<T>& a = values[i.a];
        Values<T> to{registers + i.to * tile.size, width};
        if (in_place && i.in_place && !one && steps.even(i.buffer)) {
            to = {steps.write(i.buffer, tile.row) + i.offset + tile.unit, steps.distance(i.buffer)};
            if (i.op == Op::vector) to.row = 0;
            if (i.op == Op::vector || i.op == Op::load) {
                values[i.to] = to;
                continue;
            }
        }
        switch (i.op) {
            case Op::load:
                for (int64_t r = 0; r < tile.rows; ++r) {
                    T* line = to.at + r * width;
                    const T* from = steps.read(i.buffer, tile.row + r) + i.offset;
                    if (!active(r)) fill(line, T(0), width);
                    else if (one) fill(line, *from, width);
                    else {
                        copy(line, from + tile.unit, tile.units);
                        fill(line + tile.units, T(0), width - tile.units);
                    }
                }
                break;
            case Op::vector: {
                const T* from = steps.write(i.buffer, 0) + i.offset;
                if (one) fill(to.at, *from, tile.rows * width);
                else {
                    copy(to.at, from + tile.unit, tile.units);
                    fill(to.at + tile.units, T(0), width - tile.units);
                    for (int64_t r = 1; r < tile.rows; ++r) copy(to.at + r * width, to.at, width);
                }
                break;
            }
            case Op::set: fill(to.at, static_cast<T>(i.number), tile.rows * width); break;
            case Op::store:
                if (one && tile.unit > 0) continue;
                for (int64_t r = 0; r < tile.rows; ++r) {
                    T* at = steps.write(i.buffer, tile.row + r) + i.offset + tile.unit;
                    if (!active(r)) fill(at, T(0), one ? 1 : tile.units);
                    else if (at == a.at + r * a.row) {  // it was put there
                        if (whole) break;
                    } else copy(at, a.at + r * a.row, one ? 1 : tile.units);
                }
                continue;
            case Op::last:
                if ((one && tile.unit > 0) || !steps.last_of_any()) continue;
                for (int64_t r = 0; r < tile.rows; ++r) {
                    if (!steps.last(tile.row + r)) continue;
                    copy(steps.write(i.buffer, tile.row + r) + i.offset + tile.unit, a.at + r * a.row, one ? 1 : tile.units);
                }
                continue;
            case Op::total: {
                if (one && tile.unit > 0) continue;
                const Buffer& buffer = run.buffers[i.buffer];
                T* at = static_cast<T*>(buffer.at) + thread * buffer.step + i.offset + tile.unit;
                for (int64_t j = 0; j < width; j += V) {
                    Vector<T> total = {};
                    for (int64_t r = 0; r < tile.rows; ++r)
                        if (active(r)) total += load(a.at + r * a.row + j);
                    const int64_t left = (one ? 1 : tile.units) - j;  // none beyond the one
                    if (left >= V) store(at + j, load(at + j) + total);
                    else
                        for (int64_t lane = 0; lane < left; ++lane) at[j + lane] += total[lane];
                }
                continue;
            }
            case Op::product: {
                const Group& group = run.groups[i.a];
                product(group, i.a, tile, width, to);
                for (int32_t p = 1; p < group.count; ++p) values[i.to + p] = {to.at + p * tile.size, to.row};
                break;
            }
            case Op::spread:
                for (int64_t r = 0; r < tile.rows; ++r) copy(to.at + r * to.row, a.at + r * a.row, width);
                break;
            default:
                pointwise<T>(i, to, a, values[i.b], values[i.c], {tile.rows, width});
        }
        values[i.to] = to;
    }
}

template <class E> void Interpreter<E>::rows(const Stage& stage, int64_t row, int64_t rows, int64_t size) const {
    constexpr int V = LANES<T>;
    const bool whole = steps.all_active();
    const auto active = [&](int64_t r) { return whole || steps.active(row + r); };
    // Rows of all registers begin at one distance: a result may take the register of a narrower argument, row by row.
    const int64_t apart = whole_vectors(stage.width, V);
    for (int32_t k = 0; k < stage.count; ++k) {
        const Instruction& i = run.instructions[stage.first + k];
        const int64_t n = whole_vectors(i.width, V);
        const Values<T>& a = values[i.a];
        Values<T> to{registers + i.to * size, apart};
        const bool loaded = i.op == Op::load || i.op == Op::vector;
        if (i.in_place && n == i.width && (rows == 1 || i.op == Op::vector || steps.even(i.buffer))) {
            const int64_t of = i.op == Op::vector ? 0 : row;
            to.at = (i.op == Op::load ? const_cast<T*>(steps.read(i.buffer, of)) : steps.write(i.buffer, of)) + i.offset;
            to.row = i.op == Op::vector ? 0 : steps.distance(i.buffer);
            if (loaded) {
                values[i.to] = to;
                continue;
            }
        }
        switch (i.op) {
            case Op::load:
            case Op::vector:
                for (int64_t r = 0; r < rows; ++r) {
                    const T* from = (i.op == Op::load ? steps.read(i.buffer, row + r) : steps.write(i.buffer, 0)) + i.offset;
                    T* const line = to.at + r * to.row;
                    if (i.width == 1) store(line, all(*from));
                    else {
                        copy(line, from, i.width);
                        fill(line + i.width, T(0), n - i.width);
                    }
                }
                break;
            case Op::set:
                for (int64_t r = 0; r < rows; ++r) fill(to.at + r * to.row, static_cast<T>(i.number), n);
                break;
            case Op::store:
                for (int64_t r = 0; r < rows; ++r) {
                    T* const at = steps.write(i.buffer, row + r) + i.offset;
                    if (!active(r)) fill(at, T(0), i.width);
                    else if (at != a.at + r * a.row) copy(at, a.at + r * a.row, i.width);  // else it was put there
                }
                continue;
            case Op::last:
                for (int64_t r = 0; steps.last_of_any() && r < rows; ++r)
                    if (steps.last(row + r)) copy(steps.write(i.buffer, row + r) + i.offset, a.at + r * a.row, i.width);
                continue;
            case Op::total: {
                const Buffer& buffer = run.buffers[i.buffer];
                T* const at = static_cast<T*>(buffer.at) + thread * buffer.step + i.offset;
                for (int64_t r = 0; r < rows; ++r) {
                    if (!active(r)) continue;
                    const T* const from = a.at + r * a.row;
                    int64_t j = 0;
                    for (; j + V <= i.width; j += V) store(at + j, load(at + j) + load(from + j));
                    for (; j < i.width; ++j) at[j] += from[j];
                }
                continue;
            }
            case Op::spread:
                for (int64_t r = 0; r < rows; ++r) fill(to.at + r * to.row, a.at[r * a.row], n);
                break;
            case Op::sum:
                for (int64_t r = 0; r < rows; ++r)
                    reduce(to.at + r * to.row, a.at + r * a.row, i.b, T(0), [](auto x, auto y) { return x + y; });
                break;
            case Op::max_row:
                for (int64_t r = 0; r < rows; ++r)
                    reduce(to.at + r * to.row, a.at + r * a.row, i.b, a.at[r * a.row],
                           [](auto x, auto y) { return (x > y) | (x != x) ? x : y; });
                break;
            default:
                pointwise<T>(i, to, a, values[i.b], values[i.c], {rows, n});
        }
        values[i.to] = to;
    }
}

template struct Interpreter<float>;
template struct Interpreter<double>;
template struct Interpreter<Pair>;

}  // namespace elman
