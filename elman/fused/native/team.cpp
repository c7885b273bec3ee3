#include "team.h"

#include <thread>
#include <vector>

namespace elman {

OpenMP openmp = {nullptr, nullptr, nullptr};

namespace {

// Long enough for what a stage differs between threads; then the processor is given away, since with more
// threads than processors the one waited for may not be running.
constexpr int SPINS = 4000;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

struct Call {
    void (*function)(void*, int, int);
    void* data;
};

void in_openmp(void* given) {
    const Call& call = *static_cast<Call*>(given);
    call.function(call.data, openmp.thread(), openmp.threads());
}

}  // namespace

void Barrier::wait(int threads) {
    if (threads == 1) return;
    const int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round;) {
        if (++spins < SPINS) pause();
        else std::this_thread::yield();
    }
}

void on_team(int threads, void (*function)(void*, int, int), void* data) {
    if (threads == 1) {
        function(data, 0, 1);
    } else if (openmp.parallel != nullptr) {
        Call call{function, data};
        openmp.parallel(in_openmp, &call, static_cast<unsigned>(threads), 0);
    } else {
        std::vector<std::thread> others;
        for (int k = 1; k < threads; ++k) others.emplace_back(function, data, k, threads);
        function(data, 0, threads);
        for (std::thread& other : others) other.join();
    }
}

}  // namespace elman
