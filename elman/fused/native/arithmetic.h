// The pointwise operations on whole registers: one loop per operation and form of its arguments.
#pragma once

#include "mathematics.h"
#include "plan.h"

namespace elman {

template <class T, class Function> inline void each_one(T* to, const T* a, int64_t n, Function function) {
    for (int64_t k = 0; k < n; k += LANES<T>) store(to + k, function(load(a + k)));
}

template <class T, class Function>
inline void each_two(const Instruction& i, T* to, const T* a, const T* b, int64_t n, Function function) {
    constexpr int V = LANES<T>;
    switch (i.form) {
        case Form::registers:
            for (int64_t k = 0; k < n; k += V) store(to + k, function(load(a + k), load(b + k)));
            return;
        case Form::right_number:
        case Form::right_scalar: {
            const Vector<T> right = all(i.form == Form::right_number ? static_cast<T>(i.number) : *b);
            for (int64_t k = 0; k < n; k += V) store(to + k, function(load(a + k), right));
            return;
        }
        case Form::left_number:
        case Form::left_scalar: {
            const Vector<T> left = all(i.form == Form::left_number ? static_cast<T>(i.number) : *a);
            for (int64_t k = 0; k < n; k += V) store(to + k, function(left, load(b + k)));
            return;
        }
    }
}

template <class T, class Function>
inline void each_three(T* to, const T* a, const T* b, const T* c, int64_t n, Function function) {
    for (int64_t k = 0; k < n; k += LANES<T>) store(to + k, function(load(a + k), load(b + k), load(c + k)));
}

// Registers to, a, b, c of n elements each, n a multiple of LANES. False: the operation is not pointwise.
template <class T> bool pointwise(const Instruction& i, T* to, const T* a, const T* b, const T* c, int64_t n) {
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
