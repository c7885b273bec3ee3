// Vectors of the widest kind this build may use, by the compiler's vector extensions.
//
// The library is compiled several times (SSE4, AVX2, AVX-512, or NEON); nothing else in it depends on the machine.
#pragma once

#include <cstdint>

namespace elman {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, VECTOR_REGISTERS = 32;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32, VECTOR_REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int VECTOR_BYTES = 16, VECTOR_REGISTERS = 32;
#else
constexpr int VECTOR_BYTES = 16, VECTOR_REGISTERS = 16;
#endif

template <class T> struct Lanes;

template <> struct Lanes<float> {
    typedef float Vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef int32_t Integers __attribute__((vector_size(VECTOR_BYTES)));
};

template <> struct Lanes<double> {
    typedef double Vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES)));
};

template <class T> using Vector = typename Lanes<T>::Vector;
template <class T> using Integers = typename Lanes<T>::Integers;
template <class T> constexpr int LANES = VECTOR_BYTES / static_cast<int>(sizeof(T));

// Addresses need no alignment: rows of any width start where they start.
template <class T> inline Vector<T> load(const T* from) {
    Vector<T> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

template <class T> inline void store(T* to, Vector<T> v) { __builtin_memcpy(to, &v, sizeof v); }

template <class T> inline Vector<T> all(T value) { return Vector<T>{} + value; }

template <class V> inline V smaller(V a, V b) { return a < b ? a : b; }
template <class V> inline V larger(V a, V b) { return a > b ? a : b; }

}  // namespace elman
