// Products in bfloat16: what is multiplied is rounded to eight bits of mantissa, what is added up is float.
//
// A packed operand consists of elements E whose products are values of another type, Value<E>: a float or double
// is its own; a Pair is two neighbours along the inner size. Where the processor multiplies pairs (AVX512_BF16)
// that is one instruction; elsewhere each half is widened to the float it is by a shift. The inputs are rounded
// in the same way, so both agree up to the order of summation.
#pragma once

#include <cstddef>
#include <type_traits>

#include "vector.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace elman {

// The first in the lower half.
struct Pair { uint32_t both; };

template <> struct Lanes<Pair> {
    typedef uint32_t Vector __attribute__((vector_size(VECTOR_BYTES)));
};

template <class E> using Value = std::conditional_t<std::is_same_v<E, Pair>, float, E>;

// Inner steps that one element holds, and the elements of so many inner steps.
template <class E> constexpr int STEPS = std::is_same_v<E, Pair> ? 2 : 1;
template <class E> constexpr int64_t elements(int64_t inner) { return (inner + STEPS<E> - 1) / STEPS<E>; }

constexpr uint32_t UPPER = 0xffff0000u;

template <class To, class From> inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

// The nearest bfloat16 in the upper half of each word, ties to even; the lower half is not zero.
inline Vector<Pair> rounded(Vector<float> v) {
    const auto bits = same_bits<Vector<Pair>>(v);
    return v == v ? bits + 0x7fffu + (bits >> 16 & 1u) : Vector<Pair>{} + 0x7fc00000u;
}

// One element per column, of one row of values or of two.
template <class E> inline Vector<E> join(Vector<Value<E>> first, Vector<Value<E>> second) {
    if constexpr (STEPS<E> == 2) return rounded(first) >> 16 | (rounded(second) & UPPER);
    else return first;
}

// As many elements as a vector has, of the values from here on.
template <class E> inline Vector<E> neighbours(const Value<E>* from) {
    if constexpr (STEPS<E> == 1) {
        return load(from);
    } else {
#if defined(__AVX512BF16__)
        return same_bits<Vector<E>>(_mm512_cvtne2ps_pbh(same_bits<__m512>(load(from + LANES<E>)), same_bits<__m512>(load(from))));
#else
        typedef uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2)));
        const Halves halves[2] = {__builtin_convertvector(rounded(load(from)) >> 16, Halves),
                                  __builtin_convertvector(rounded(load(from + LANES<E>)) >> 16, Halves)};
        return load(reinterpret_cast<const E*>(halves));
#endif
    }
}

// sum + right · left, where `left` is the same in every column.
template <class T> inline Vector<T> multiply_add(Vector<T> sum, Vector<T> right, T left) { return sum + right * left; }
inline Vector<float> multiply_add(Vector<float> sum, Vector<Pair> right, Pair left) {
#if defined(__AVX512BF16__)
    const Vector<Pair> all_left = Vector<Pair>{} + left.both;
    return same_bits<Vector<float>>(
        _mm512_dpbf16_ps(same_bits<__m512>(sum), same_bits<__m512bh>(right), same_bits<__m512bh>(all_left)));
#else
    sum += same_bits<Vector<float>>(right << 16) * same_bits<float>(left.both << 16);
    return sum + same_bits<Vector<float>>(right & UPPER) * same_bits<float>(left.both & UPPER);
#endif
}

// A row of n values as pairs; an odd one out is beside a zero.
inline void pair_up(const float* from, int64_t n, Pair* to) {
    constexpr int V = LANES<Pair>;
    int64_t k = 0;
    for (; k + 2 * V <= n; k += 2 * V, to += V) store(to, neighbours<Pair>(from + k));
    if (k == n) return;
    float rest[2 * V] = {};
    __builtin_memcpy(rest, from + k, static_cast<std::size_t>(n - k) * sizeof(float));
    const auto last = neighbours<Pair>(rest);
    __builtin_memcpy(to, &last, static_cast<std::size_t>(elements<Pair>(n - k)) * sizeof(Pair));
}

}  // namespace elman
