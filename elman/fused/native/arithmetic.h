// The pointwise operations on whole registers: one loop per operation and form of its arguments.
#pragma once

#include "mathematics.h"
#include "plan.h"

namespace elman {

// Values of a tile: rows of so many elements, that begin `row` elements after each other (0: the same one for all).
template <class T> struct Values {
    T* at;
    int64_t row;
};

// The size of a tile. Where no value leaves a gap between its rows, they are one row.
struct Area {
    int64_t rows, width;

    template <class... Rows> Area joined(Rows... row) const {
        return ((row == width) && ...) ? Area{1, rows * width} : *this;
    }
};

template <class T, class Function>
inline void each_one(const Values<T>& to, const Values<T>& a, const Area& whole, Function function) {
    const Area area = whole.joined(to.row, a.row);
    T* out = to.at;
    const T* x = a.at;
    for (int64_t r = 0; r < area.rows; ++r, out += to.row, x += a.row)
        for (int64_t k = 0; k < area.width; k += LANES<T>) store(out + k, function(load(x + k)));
}

template <class T, class Function>
inline void each_two(const Instruction& i, const Values<T>& to, const Values<T>& a, const Values<T>& b, const Area& whole,
                     Function function) {
    using V = Vector<T>;
    T* out = to.at;
    const T *x = a.at, *y = b.at;
    const int64_t rows = whole.rows, width = whole.width;
    switch (i.form) {
        case Form::registers: {
            const Area area = whole.joined(to.row, a.row, b.row);
            for (int64_t r = 0; r < area.rows; ++r, out += to.row, x += a.row, y += b.row)
                for (int64_t k = 0; k < area.width; k += LANES<T>) store(out + k, function(load(x + k), load(y + k)));
            return;
        }
        case Form::right_number:
            return each_one(to, a, whole, [&, right = all(static_cast<T>(i.number))](V left) { return function(left, right); });
        case Form::left_number:
            return each_one(to, b, whole, [&, left = all(static_cast<T>(i.number))](V right) { return function(left, right); });
        case Form::right_scalar:
            for (int64_t r = 0; r < rows; ++r, out += to.row, x += a.row, y += b.row) {
                const V right = all(*y);
                for (int64_t k = 0; k < width; k += LANES<T>) store(out + k, function(load(x + k), right));
            }
            return;
        case Form::left_scalar:
            for (int64_t r = 0; r < rows; ++r, out += to.row, x += a.row, y += b.row) {
                const V left = all(*x);
                for (int64_t k = 0; k < width; k += LANES<T>) store(out + k, function(left, load(y + k)));
            }
            return;
    }
}

template <class T, class Function>
inline void each_three(const Values<T>& to, const Values<T>& a, const Values<T>& b, const Values<T>& c, const Area& whole,
                       Function function) {
    const Area area = whole.joined(to.row, a.row, b.row, c.row);
    T* out = to.at;
    const T *x = a.at, *y = b.at, *z = c.at;
    for (int64_t r = 0; r < area.rows; ++r, out += to.row, x += a.row, y += b.row, z += c.row)
        for (int64_t k = 0; k < area.width; k += LANES<T>)
            store(out + k, function(load(x + k), load(y + k), load(z + k)));
}

// One operation over a tile; widths are whole vectors. False: the operation is not pointwise.
template <class T>
bool pointwise(const Instruction& i, const Values<T>& to, const Values<T>& a, const Values<T>& b, const Values<T>& c,
               const Area& n) {
    using V = Vector<T>;
    const auto one = [](auto condition) { return condition ? all(T(1)) : V{}; };
    switch (i.op) {
        case Op::add: each_two(i, to, a, b, n, [](V x, V y) { return x + y; }); return true;
        case Op::sub: each_two(i, to, a, b, n, [](V x, V y) { return x - y; }); return true;
        case Op::mul: each_two(i, to, a, b, n, [](V x, V y) { return x * y; }); return true;
        case Op::div: each_two(i, to, a, b, n, [](V x, V y) { return x / y; }); return true;
        // As PyTorch's, a maximum of anything and NaN is NaN.
        case Op::max: each_two(i, to, a, b, n, [](V x, V y) { return (x > y) | (x != x) ? x : y; }); return true;
        case Op::min: each_two(i, to, a, b, n, [](V x, V y) { return (x < y) | (x != x) ? x : y; }); return true;
        case Op::gt: each_two(i, to, a, b, n, [&](V x, V y) { return one(x > y); }); return true;
        case Op::ge: each_two(i, to, a, b, n, [&](V x, V y) { return one(x >= y); }); return true;
        case Op::eq: each_two(i, to, a, b, n, [&](V x, V y) { return one(x == y); }); return true;
        case Op::where: each_three(to, a, b, c, n, [](V x, V y, V z) { return x != 0 ? y : z; }); return true;
        case Op::multiply_add: each_three(to, a, b, c, n, [](V x, V y, V z) { return x * y + z; }); return true;
        case Op::multiply_sub: each_three(to, a, b, c, n, [](V x, V y, V z) { return z - x * y; }); return true;
        case Op::neg: each_one(to, a, n, [](V x) { return -x; }); return true;
        case Op::abs: each_one(to, a, n, [](V x) { return magnitude(x); }); return true;
        case Op::exp: each_one(to, a, n, [](V x) { return exp(x); }); return true;
        case Op::log: each_one(to, a, n, [](V x) { return log(x); }); return true;
        case Op::log1p: each_one(to, a, n, [](V x) { return log1p(x); }); return true;
        case Op::sqrt: each_one(to, a, n, [](V x) { return sqrt(x); }); return true;
        case Op::erf: each_one(to, a, n, [](V x) { return erf(x); }); return true;
        case Op::tanh: each_one(to, a, n, [](V x) { return tanh(x); }); return true;
        case Op::logistic: each_one(to, a, n, [](V x) { return logistic(x); }); return true;
        case Op::softplus: each_one(to, a, n, [](V x) { return softplus(x); }); return true;
        default: return false;
    }
}

}  // namespace elman
