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

template <class T, class Function> inline void each_one(Values<T> to, Values<const T> a, Area area, Function function) {
    area = area.joined(to.row, a.row);
    for (int64_t r = 0; r < area.rows; ++r, to.at += to.row, a.at += a.row)
        for (int64_t k = 0; k < area.width; k += LANES<T>) store(to.at + k, function(load(a.at + k)));
}

template <class T, class Function>
inline void each_two(const Instruction& i, Values<T> to, Values<const T> a, Values<const T> b, Area area, Function function) {
    constexpr int V = LANES<T>;
    switch (i.form) {
        case Form::registers:
            area = area.joined(to.row, a.row, b.row);
            for (int64_t r = 0; r < area.rows; ++r, to.at += to.row, a.at += a.row, b.at += b.row)
                for (int64_t k = 0; k < area.width; k += V) store(to.at + k, function(load(a.at + k), load(b.at + k)));
            return;
        case Form::right_number:
        case Form::right_scalar: {
            const Vector<T> right = all(i.form == Form::right_number ? static_cast<T>(i.number) : *b.at);
            each_one(to, a, area, [&](Vector<T> left) { return function(left, right); });
            return;
        }
        case Form::left_number:
        case Form::left_scalar: {
            const Vector<T> left = all(i.form == Form::left_number ? static_cast<T>(i.number) : *a.at);
            each_one(to, b, area, [&](Vector<T> right) { return function(left, right); });
            return;
        }
    }
}

template <class T, class Function>
inline void each_three(Values<T> to, Values<const T> a, Values<const T> b, Values<const T> c, Area area, Function function) {
    area = area.joined(to.row, a.row, b.row, c.row);
    for (int64_t r = 0; r < area.rows; ++r, to.at += to.row, a.at += a.row, b.at += b.row, c.at += c.row)
        for (int64_t k = 0; k < area.width; k += LANES<T>)
            store(to.at + k, function(load(a.at + k), load(b.at + k), load(c.at + k)));
}

// One operation over a tile; widths are whole vectors. False: the operation is not pointwise.
template <class T>
bool pointwise(const Instruction& i, Values<T> to, Values<const T> a, Values<const T> b, Values<const T> c, Area n) {
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
