#include "gemv.h"

#include "mathematics.h"

namespace elman {
namespace {

constexpr int V = LANES<float>;
constexpr int MOST_PANELS = 4, MOST_ROWS = VECTOR_REGISTERS >= 32 ? 4 : 2;

// How a word of a panel's lane holds the weights of WEIGHTS consecutive rows of the panel, and how to get at them.
struct Whole {
    static constexpr int WEIGHTS = 1;
    template <int> static F get(F word) { return word; }
};

struct Upper {  // two numbers without their lower halves
    static constexpr int WEIGHTS = 2;
    template <int J> static F get(F word) {
        const I bits = as_integer(word);
        return as_float(J == 0 ? bits << 16 : bits & static_cast<int32_t>(0xffff0000u));
    }
};

struct Bytes {  // four whole numbers. Each is taken as the uppermost byte: 2²⁴ times what is meant
    static constexpr int WEIGHTS = 4;
    template <int J> static F get(F word) {
        const I bits = as_integer(word) << (24 - 8 * J);
        return __builtin_convertvector(J == 0 ? bits : bits & static_cast<int32_t>(0xff000000u), F);
    }
};

// R rows × P panels. Sums alternate between chains where there are few, since each multiply-add waits for the one
// before it in its chain.
template <class Format, int R, int P>
void block(const float* panels, int64_t inner, const float* const* rows, F (*out)[P]) {
    constexpr int J = Format::WEIGHTS, CHAINS = R * P < 8 ? 8 / (R * P) : 1, UNROLL = CHAINS > J ? CHAINS / J : 1;
    const int64_t words = (inner + J - 1) / J;
    F sum[CHAINS][R][P] = {};
    const auto add = [&](int chain, int p, int64_t k, F right) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) sum[chain][r][p] += right * rows[r][k];
    };
    const auto step = [&](int chain, int64_t n) __attribute__((always_inline)) {
        F word[P];
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) word[p] = load(panels + (p * words + n) * V);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) add(chain % CHAINS, p, n * J, Format::template get<0>(word[p]));
        if constexpr (J > 1) {
#pragma GCC unroll 4
            for (int p = 0; p < P; ++p) add((chain + 1) % CHAINS, p, n * J + 1, Format::template get<1>(word[p]));
        }
        if constexpr (J > 2) {
#pragma GCC unroll 4
            for (int p = 0; p < P; ++p) add((chain + 2) % CHAINS, p, n * J + 2, Format::template get<2>(word[p]));
#pragma GCC unroll 4
            for (int p = 0; p < P; ++p) add((chain + 3) % CHAINS, p, n * J + 3, Format::template get<3>(word[p]));
        }
    };
    const int64_t full = inner / J;
    int64_t n = 0;
    for (; n + UNROLL <= full; n += UNROLL) {
#pragma GCC unroll 8
        for (int u = 0; u < UNROLL; ++u) step(u * J, n + u);
    }
    for (; n < full; ++n) step(0, n);
    if (n < words) {  // the last word is not full
        for (int p = 0; p < P; ++p) {
            const F word = load(panels + (p * words + n) * V);
            add(0, p, n * J, Format::template get<0>(word));
            if (n * J + 1 < inner) add(0, p, n * J + 1, Format::template get<1 % J>(word));
            if (n * J + 2 < inner) add(0, p, n * J + 2, Format::template get<2 % J>(word));
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) {
            out[r][p] = sum[0][r][p];
#pragma GCC unroll 8
            for (int chain = 1; chain < CHAINS; ++chain) out[r][p] += sum[chain][r][p];
        }
    }
}

struct Target {
    const float* scales;
    int64_t products, size, stride;
    float* to;

    float* of(int64_t panel) const { return to + panel % products * size + panel / products * V; }
};

template <class Format, int R, int P>
void panels_by_rows(const float* panels, int64_t inner, const float* const* rows, int64_t panel, int64_t row,
                    const Target& target) {
    F out[R][P];
    block<Format, R, P>(panels, inner, rows + row, out);
    for (int p = 0; p < P; ++p) {
        float* const to = target.of(panel + p) + row * target.stride;
        const F scale = target.scales ? load(target.scales + (panel + p) * V) : all(1.f);
        for (int r = 0; r < R; ++r) store(to + r * target.stride, target.scales ? out[r][p] * scale : out[r][p]);
    }
}

template <class Format, int P>
void panels(const float* at, int64_t inner, const float* const* rows, int64_t row_count, int64_t panel,
            const Target& target) {
    int64_t row = 0;
    for (; row + MOST_ROWS <= row_count; row += MOST_ROWS)
        panels_by_rows<Format, MOST_ROWS, P>(at, inner, rows, panel, row, target);
    for (; row < row_count; ++row) panels_by_rows<Format, 1, P>(at, inner, rows, panel, row, target);
}

template <class Format>
void all_panels(const Weights& weights, int64_t inner, const float* const* rows, int64_t row_count, int64_t first,
                int64_t count, const Target& target) {
    const int64_t size = (inner + Format::WEIGHTS - 1) / Format::WEIGHTS * V;
    const float* const at = static_cast<const float*>(weights.panels) + first * size;
    int64_t n = 0;
    for (; n + MOST_PANELS <= count; n += MOST_PANELS)
        panels<Format, MOST_PANELS>(at + n * size, inner, rows, row_count, n, target);
    for (; n < count; ++n) panels<Format, 1>(at + n * size, inner, rows, row_count, n, target);
}

}  // namespace

void multiply_packed(const Weights& weights, int64_t inner, const float* const* rows, int64_t row_count,
                     int64_t first, int64_t count, int64_t products, float* to, int64_t size, int64_t stride) {
    const Target target{weights.scales ? weights.scales + first * V : nullptr, products, size, stride, to};
    switch (weights.format) {
        case BFLOAT16: return all_panels<Upper>(weights, inner, rows, row_count, first, count, target);
        case INT8: return all_panels<Bytes>(weights, inner, rows, row_count, first, count, target);
        default: return all_panels<Whole>(weights, inner, rows, row_count, first, count, target);
    }
}

}  // namespace elman
