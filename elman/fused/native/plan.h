// What Python hands over: a plan (instructions, stages, products) and the tensors of one run.
//
// The same structures, field by field, stand in abi.py. All counts and strides are in elements.
#pragma once

#include <cstdint>

namespace elman {

// Every operation a stage may hold, in one list: Python reads the names from the library.
#define ELMAN_OPERATIONS(X) \
    X(load) X(vector) X(set) X(store) X(last) X(total) X(product) X(spread) X(sum) X(max_row) \
    X(add) X(sub) X(mul) X(div) X(max) X(min) X(gt) X(ge) X(eq) \
    X(where) X(multiply_add) X(multiply_sub) \
    X(neg) X(abs) X(exp) X(log) X(log1p) X(sqrt) X(erf) X(tanh) X(logistic) X(softplus)

enum class Op : int32_t {
#define X(name) name,
    ELMAN_OPERATIONS(X)
#undef X
};

// Where the second or first argument of a two-argument operation comes from.
enum class Form : int32_t { registers, right_number, left_number, right_scalar, left_scalar };

struct Instruction {
    Op op;
    Form form;
    int32_t to, a, b, c;     // registers; for `product`, a is the group
    int32_t buffer, offset;  // for load, vector, store, last, total
    int32_t width;           // columns: the stage's units, or 1 for one value per row; in a row stage any
    int32_t in_place;        // 1: a load or vector may be read where it lies while the stage runs, and the result of
                             // another operation be put where it is stored in the end (`buffer`, `offset`)
    double number;
};

// A stage runs its instructions over all rows: in tiles of rows × units (columns), or row by row where
// a row's values meet (rows).
struct Stage {
    int32_t by_rows;    // 1: row by row
    int32_t barrier;    // 1: what other threads wrote is read
    int32_t units;      // columns of every value of a stage in tiles
    int32_t widest;     // products that share their left side: how many at most
    int32_t inner;      // the longest inner size of its products
    int32_t registers;
    int32_t width;      // columns of the widest register of a stage by rows
    int32_t first, count;  // instructions
    int32_t unused;
};

// Products of one left side with several runs of `units` columns of matrices.
struct Group {
    int32_t buffer, offset, inner, units;  // the left side, and the width of each result
    int32_t first, count;                  // products
};

struct Product { int32_t matrix, start; };

struct Matrix {
    const void* at;
    int64_t step_k, step_n;
};

// How a value per step, row and column is found. A value of the step before (`shift` = ∓1) is read from
// `first` where a row has no step before: at step 0, or (`from_end`) at its last.
struct Buffer {
    void* at;
    int64_t step, row;
    const void* first;
    int64_t first_row;
    int32_t shift, from_end;
    int64_t ring;  // > 0: only so many steps are there, used in turn
};

// out (+)= Σ over steps and rows of leftᵀ · right: the gradient of a matrix.
struct Factor {
    int32_t left, right, rows, columns;
    int32_t accumulate, unused;
    void* out;
    int64_t out_row;
};

// The weights of one group, packed beforehand (see gemv.h).
struct Weights {
    const void* panels;
    const float* scales;  // of int8: one for each column; else null
    int64_t format;
};

struct Run {
    int64_t steps, batch;
    int64_t descending;       // 1: from the last step to the first
    int64_t together;         // so many steps are visited at once, their rows one below the other: 1 where there is a state
    int64_t chunk;            // so many steps are done between two visits of `before`, `after` and the factors
    int64_t threads;
    const int64_t* lengths;   // per row, or null: all are full
    const Instruction* instructions;
    const Stage* stages;
    const Group* groups;
    const Product* products;
    const Matrix* matrices;
    const Buffer* buffers;
    const Factor* factors;
    int64_t stage_count, group_count, buffer_count, factor_count;
    char* scratch;
    const Run* before;        // what needs no past, done for the steps of a chunk (its `together`) before they are
    const Run* after;         // and after them
    const Weights* weights;  // per group, float32 only; or null: the matrices are packed for this run
};

// A run among others of one call, done by the threads from `first` on. Those of one layer do not wait for each
// other; the next layer may read what they wrote.
struct Job {
    const Run* run;
    int64_t layer, first;
};

// A buffer that lies in what is handed over at each step: the input, the state before it, the output, the state
// after it.
struct Port {
    int32_t buffer, argument;
    int64_t offset;
};

// A run of one step, made once and taken many times.
struct Stream {
    Run* run;
    Buffer* buffers;  // those of the run
    const Port* ports;
    int64_t port_count;
};

}  // namespace elman
