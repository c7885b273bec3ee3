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

template <int N> struct Size { static constexpr int value = N; };

// Addresses need no alignment: rows of any width start where they start.
template <class T> inline Vector<T> load(const T* from) {
    Vector<T> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

template <class T> inline void store(T* to, Vector<T> v) { __builtin_memcpy(to, &v, sizeof v); }

// n elements: whole vectors, then halves of what is left, so that no loop goes over single ones.
template <class T> inline void copy(T* to, const T* from, int64_t n) {
    constexpr int V = LANES<T>;
    int64_t k = 0;
    for (; k + V <= n; k += V) store(to + k, load(from + k));
    const auto some = [&](auto size) __attribute__((always_inline)) {
        if (!((n - k) & size.value)) return;
        __builtin_memcpy(to + k, from + k, size.value * sizeof(T));
        k += size.value;
    };
    if constexpr (V > 8) some(Size<8>{});
    if constexpr (V > 4) some(Size<4>{});
    if constexpr (V > 2) some(Size<2>{});
    some(Size<1>{});
}

template <class T> inline Vector<T> all(T value) { return Vector<T>{} + value; }

template <class T> inline void fill(T* to, T value, int64_t n) {
    int64_t k = 0;
    for (; k + LANES<T> <= n; k += LANES<T>) store(to + k, all(value));
    for (; k < n; ++k) to[k] = value;
}

template <class V> inline V smaller(V a, V b) { return a < b ? a : b; }
template <class V> inline V larger(V a, V b) { return a > b ? a : b; }

}  // namespace elman
