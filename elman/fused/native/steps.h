// Where the values of a step lie, and which rows are still inside their sequence.
#pragma once

#include "plan.h"

namespace elman {

// One run's buffers, aimed at a step, or at several visited together: then their rows follow one another. Each
// thread has its own.
template <class T> class Steps {
  public:
    struct Place {
        T* at;             // row 0 of the first step
        int64_t row;
        int64_t skip;      // what lies between the last row of a step and the first of the next
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
        stop_ = t + run_.together < run_.steps ? t + run_.together : run_.steps;
        for (int64_t k = 0; k < run_.buffer_count; ++k) places_[k] = place(run_.buffers[k], t);
    }

    int64_t rows() const { return (stop_ - t_) * run_.batch; }
    bool all_active() const { return stop_ <= shortest_; }
    bool active(int64_t row) const {
        return run_.together == 1 ? t_ < length(row) : t_ + row / run_.batch < length(row % run_.batch);
    }

    // Whether this is the last step that the run takes of a row's sequence.
    bool last(int64_t row) const { return active(row) && t_ == (run_.descending ? 0 : length(row) - 1); }
    bool last_of_any() const { return run_.descending ? t_ == 0 : run_.lengths || t_ == run_.steps - 1; }

    T* write(int buffer, int64_t row) const {
        const Place& p = places_[buffer];
        return p.at + row * p.row + (p.skip ? row / run_.batch * p.skip : 0);
    }

    const T* read(int buffer, int64_t row) const {
        const Place& p = places_[buffer];
        if (p.mixed && t_ >= length(row) - 1) return p.first + row * p.first_row;  // past the end: any address
        return write(buffer, row);
    }

    // Whether a buffer's rows follow one another at an even distance, which is `distance`.
    bool even(int buffer) const { return !places_[buffer].mixed && !places_[buffer].skip; }
    int64_t distance(int buffer) const { return places_[buffer].row; }

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
            if (starts) return {const_cast<T*>(first), b.first_row, 0, first, b.first_row, false};
        }
        const int64_t step = t + b.shift;
        const int64_t skip = run_.together == 1 ? 0 : b.step - run_.batch * b.row;
        return {at + (b.ring ? (step + b.ring) % b.ring : step) * b.step, b.row, skip, first, b.first_row,
                b.shift != 0 && b.from_end && run_.lengths};
    }

    const Run& run_;
    Place* places_;
    int64_t t_ = 0, stop_ = 0, shortest_;
};

}  // namespace elman
