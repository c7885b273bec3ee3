// What Python sees: a handful of C functions.

#include "bfloat16.h"
#include "scan.h"
#include "stream.h"
#include "team.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

using elman::Job;
using elman::Run;

// The names of the operations in the order of their numbers, separated by spaces.
EXPORT const char* elman_operations() {
#define X(name) #name " "
    return ELMAN_OPERATIONS(X);
#undef X
}

// Sizes of the structures, to be compared with Python's.
EXPORT int64_t elman_size(int64_t which) {
    const int64_t sizes[] = {sizeof(elman::Instruction), sizeof(elman::Stage), sizeof(elman::Group), sizeof(elman::Product),
                             sizeof(elman::Matrix), sizeof(elman::Buffer), sizeof(elman::Factor), sizeof(Run),
                             sizeof(elman::Weights), sizeof(elman::Port), sizeof(elman::Stream), sizeof(Job)};
    return which >= 0 && which < 12 ? sizes[which] : -1;
}

EXPORT int64_t elman_vector_bytes() { return elman::VECTOR_BYTES; }

// The highest level of the x86-64 instruction sets that this machine has: 2, 3 (AVX2), 4 (AVX-512),
// 5 (with AVX512_BF16); else 0.
EXPORT int64_t elman_machine_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool three = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool four = three && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
    return four && __builtin_cpu_supports("avx512bf16") ? 5 : four ? 4 : three ? 3 : __builtin_cpu_supports("sse4.2") ? 2 : 1;
#else
    return 0;
#endif
}

EXPORT void elman_use_openmp(void* parallel, void* thread, void* threads) {
    elman::openmp = {reinterpret_cast<decltype(elman::OpenMP::parallel)>(parallel),
                     reinterpret_cast<int (*)()>(thread), reinterpret_cast<int (*)()>(threads)};
}

EXPORT int64_t elman_scratch_float32(const Run* run) { return elman::scratch_bytes<float>(*run); }
EXPORT int64_t elman_scratch_float64(const Run* run) { return elman::scratch_bytes<double>(*run); }
EXPORT int64_t elman_scratch_bfloat16(const Run* run) { return elman::scratch_bytes<elman::Pair>(*run); }
EXPORT void elman_scan_float32(const Job* jobs, int64_t count) { elman::scan<float>(jobs, count); }
EXPORT void elman_scan_float64(const Job* jobs, int64_t count) { elman::scan<double>(jobs, count); }
EXPORT void elman_scan_bfloat16(const Job* jobs, int64_t count) { elman::scan<elman::Pair>(jobs, count); }

// One step: x and the state before it are read, the output and the state after it written; rows side by side.
EXPORT void elman_stream(const elman::Stream* stream, float* x, float* before, float* y, float* after) {
    elman::step(*stream, {x, before, y, after});
}
