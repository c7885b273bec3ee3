// Elementary functions on vectors, to about two units in the last place over the whole range.
//
// In double precision each lane calls the C library: that path exists to be right (gradient checks), not fast.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "vector.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace elman {

typedef Vector<float> F;
typedef Integers<float> I;

inline F as_float(I bits) { F v; std::memcpy(&v, &bits, sizeof v); return v; }
inline I as_integer(F v) { I bits; std::memcpy(&bits, &v, sizeof v); return bits; }
inline F magnitude(F x) { return as_float(as_integer(x) & 0x7fffffff); }
inline F with_sign_of(F x, F sign) {
    return as_float((as_integer(x) & 0x7fffffff) | (as_integer(sign) & static_cast<int32_t>(0x80000000u)));
}

// x = n ln 2 + r with a whole n, |r| ≤ ln 2 / 2. Adding 1.5 · 2²³ rounds.
struct Reduced { F r, n; };

inline Reduced reduce(F x) {
    const F magic = all(12582912.f);
    const F shifted = x * 1.44269504088896341f + magic;
    const F n = shifted - magic;
    F r = x - n * 0.693359375f;  // ln 2 in two parts: the first has few bits, so that its product is exact
    r = r - n * -2.12194440e-4f;
    return {r, n};
}

// exp(r) − 1 for a reduced r.
inline F exp_less_one(F r) {
    F p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r;
}

// x · 2ⁿ for a whole n that may lie beyond the exponents that a float has.
inline F scaled(F x, F n) {
#if defined(__AVX512F__)
    return _mm512_scalef_ps(x, n);
#else
    const I whole = __builtin_convertvector(n, I), half = whole >> 1;  // in two factors: infinity and the subnormal
    return (x * as_float((half + 127) << 23)) * as_float((whole - half + 127) << 23);  // numbers are reached
#endif
}

inline F exp(F x) {
    x = x > 89.f ? all(89.f) : x;      // a NaN passes through both
    x = x < -104.f ? all(-104.f) : x;
    const Reduced part = reduce(x);
    return scaled(exp_less_one(part.r) + 1.f, part.n);
}

inline F logistic(F x) { return 1.f / (1.f + exp(-x)); }

// tanh x = e / (e + 2) with e = exp(2|x|) − 1, which is exact where x is small.
inline F tanh(F x) {
    F twice = magnitude(x) * 2.f;
    twice = twice > 40.f ? all(40.f) : twice;
    const Reduced part = reduce(twice);
    const F scale = scaled(all(1.f), part.n);
    const F e = scale * exp_less_one(part.r) + (scale - 1.f);
    return with_sign_of(e / (e + 2.f), x);
}

inline F log(F x) {
    const F infinity = all(std::numeric_limits<float>::infinity());
    const I tiny = x < 1.17549435e-38f;
    const F scaled = tiny ? x * 8388608.f : x;
    I exponent = ((as_integer(scaled) >> 23) & 0xff) - 126 - (tiny & 23);
    F m = as_float((as_integer(scaled) & 0x007fffff) | 0x3f000000);  // ½ ≤ m < 1
    const I low = m < 0.707106781186547524f;
    exponent = exponent + low;                                        // a true comparison is −1
    m = (low ? m + m : m) - 1.f;
    const F square = m * m;
    F p = all(7.0376836292e-2f);
    p = p * m + -1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m + -1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m + -1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m + -2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    const F e = __builtin_convertvector(exponent, F);
    F y = p * m * square + e * -2.12194440e-4f - square * 0.5f;
    y = m + y + e * 0.693359375f;
    y = x == 0.f ? -infinity : y;
    y = x == infinity ? infinity : y;
    return x < 0.f || x != x ? all(std::numeric_limits<float>::quiet_NaN()) : y;
}

// log(1 + x): the rounding of 1 + x is undone by the factor x / ((1 + x) − 1) [Kahan].
inline F log1p(F x) {
    const F u = 1.f + x;
    const F y = log(u) * (x / (u - 1.f));
    return u == 1.f ? x : u == std::numeric_limits<float>::infinity() ? u : y;
}

inline F softplus(F x) { return larger(x, F{}) + log1p(exp(-magnitude(x))) + (x != x ? x : F{}); }

// Two polynomials, of |x| ≤ 0.93 and of the logarithm of 1 − erf beyond.
inline F erf(F x) {
    const F t = magnitude(x), s = x * x;
    F r = all(-1.72853470e-5f) * t + 3.83197126e-4f;
    const F u = all(-3.88396438e-3f) * t + 2.42546219e-2f;
    r = r * s + u;
    r = r * t + -1.06777877e-1f;
    r = r * t + -6.34846687e-1f;
    r = r * t + -1.28717512e-1f;
    const F far = with_sign_of(1.f - exp(r * t - t), x);
    F p = all(-5.96761703e-4f);
    p = p * s + 4.99119423e-3f;
    p = p * s + -2.67681349e-2f;
    p = p * s + 1.12819925e-1f;
    p = p * s + -3.76125336e-1f;
    p = p * s + 1.28379166e-1f;
    const F near = p * x + x;
    return x != x ? x : (t > 0.927734375f ? far : near);
}

inline F sqrt(F x) {
    F y;
    for (int lane = 0; lane < LANES<float>; ++lane) y[lane] = __builtin_sqrtf(x[lane]);
    return y;
}

typedef Vector<double> D;

template <class Function> inline D each(D x, Function function) {
    for (int lane = 0; lane < LANES<double>; ++lane) x[lane] = function(x[lane]);
    return x;
}

inline D magnitude(D x) { return each(x, [](double v) { return std::fabs(v); }); }
inline D exp(D x) { return each(x, [](double v) { return std::exp(v); }); }
inline D log(D x) { return each(x, [](double v) { return std::log(v); }); }
inline D log1p(D x) { return each(x, [](double v) { return std::log1p(v); }); }
inline D sqrt(D x) { return each(x, [](double v) { return std::sqrt(v); }); }
inline D erf(D x) { return each(x, [](double v) { return std::erf(v); }); }
inline D tanh(D x) { return each(x, [](double v) { return std::tanh(v); }); }
inline D logistic(D x) { return each(x, [](double v) { return 1 / (1 + std::exp(-v)); }); }
inline D softplus(D x) {
    return each(x, [](double v) { return v != v ? v : std::fmax(v, 0.0) + std::log1p(std::exp(-std::fabs(v))); });
}

}  // namespace elman
