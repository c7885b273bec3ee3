// Threads. PyTorch's own OpenMP team where Python found it, so that no second pool spins against it.
#pragma once

#include <atomic>

namespace elman {

struct OpenMP {
    void (*parallel)(void (*function)(void*), void* data, unsigned threads, unsigned flags);
    int (*thread)();
    int (*threads)();
};

extern OpenMP openmp;

// A point that all threads of a team reach before any goes on.
class Barrier {
  public:
    void wait(int threads);

  private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<int> round_{0};
};

// Runs function(data, thread, threads) on a team of at most `threads`; the team may turn out smaller.
void on_team(int threads, void (*function)(void*, int, int), void* data);

}  // namespace elman
