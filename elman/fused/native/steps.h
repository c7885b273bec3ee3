// Where the values of a step lie, and which rows are still inside their sequence.
#pragma once

#include "plan.h"

namespace elman {

// One run's buffers, aimed at a step. Each thread has its own.
template <class T> class Steps {
  public:
    struct Place {
        T* at;             // row 0 at this step
        int64_t row;
        const T* first;    // where rows whose sequence begins at this step read instead
        int64_t first_row;
        bool mixed;        // some rows read `first`, some do not
    };

    Steps(const Run& run, Place* places) : run_(run), places_(places) {
        shortest_ = run.steps;
        for (int64_t b = 0; run.lengths && b < run.batch; ++b)
            shortest_ = run.lengths[b] < shortest_ ? run.lengths[b] : shortest_;
    }

    void aim(int64_t t) {
        t_ = t;
        for (int64_t k = 0; k < run_.buffer_count; ++k) places_[k] = place(run_.buffers[k], t);
    }

    int64_t now() const { return t_; }
    bool all_active() const { return t_ < shortest_; }
    bool active(int64_t row) const { return t_ < length(row); }

    // Whether this is the last step that the run takes of a row's sequence.
    bool last(int64_t row) const { return active(row) && t_ == (run_.descending ? 0 : length(row) - 1); }
    bool last_of_any() const { return run_.descending ? t_ == 0 : run_.lengths || t_ == run_.steps - 1; }

    T* write(int buffer, int64_t row) const { return places_[buffer].at + row * places_[buffer].row; }

    const T* read(int buffer, int64_t row) const {
        const Place& p = places_[buffer];
        if (p.mixed && t_ >= length(row) - 1) return p.first + row * p.first_row;  // past the end: any address
        return p.at + row * p.row;
    }

    // One row at one step, whatever the steps are aimed at.
    const T* read_at(int buffer, int64_t t, int64_t row) const {
        const Buffer& b = run_.buffers[buffer];
        const Place p = place(b, t);
        if (p.mixed && t >= length(row) - 1) return p.first + row * p.first_row;
        return p.at + row * p.row;
    }

    int64_t length(int64_t row) const { return run_.lengths ? run_.lengths[row] : run_.steps; }

  private:
    Place place(const Buffer& b, int64_t t) const {
        T* at = static_cast<T*>(b.at);
        const T* first = static_cast<const T*>(b.first);
        if (b.shift != 0) {
            const bool starts = b.from_end ? !run_.lengths && t == run_.steps - 1 : t == 0;
            if (starts) return {const_cast<T*>(first), b.first_row, first, b.first_row, false};
        }
        const int64_t step = t + b.shift;
        return {at + (b.ring ? (step + b.ring) % b.ring : step) * b.step, b.row, first, b.first_row,
                b.shift != 0 && b.from_end && run_.lengths};
    }

    const Run& run_;
    Place* places_;
    int64_t t_ = 0, shortest_;
};

}  // namespace elman
