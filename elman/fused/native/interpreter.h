// Runs a stage's instructions over a tile of rows × units, or over whole rows.
#pragma once

#include "arithmetic.h"
#include "bfloat16.h"
#include "steps.h"

namespace elman {

// A tile's registers hold this many vectors: small enough for a dozen of them to stay in the first cache,
// large enough that choosing the operation costs nothing.
constexpr int TILE_VECTORS = 24;

// So much all registers of some whole rows may take, which a stage by rows does at a time.
constexpr int64_t REGISTER_BYTES = 32 * 1024, MOST_WHOLE_ROWS = 8;

// A tile: rows × whole vectors of units.
struct Tile {
    int64_t row, rows;    // first row, and how many
    int64_t unit, units;  // first unit, and how many are real; registers are filled up to whole vectors
    int64_t size;         // elements of a register
    int64_t turn;         // how many tiles of the same units stand above it
};

// Values are T; E is what its products multiply.
template <class E> struct Interpreter {
    using T = Value<E>;
    const Run& run;
    const Steps<T>& steps;
    const E* packed;               // all panels of all groups
    const int64_t* packed_groups;  // where each group's begin
    T* registers;
    E* sides;                      // left sides of products, where they are not read as they are
    int64_t* side_of;              // where row 0 of a group's would be, from `sides`
    Values<T>* values;             // where the value of each register lies: there, or where it is loaded from or stored
    int thread;

    // Makes the left sides of a stage's products for these rows, if E asks for it. Until the next call tiles may
    // stand on no other rows.
    void prepare(const Stage& stage, int64_t row, int64_t rows) const;

    // Begins to bring what a tile reads and writes of all steps' values into the second cache.
    void fetch(const Stage& stage, const Tile& tile) const;

    void tile(const Stage& stage, const Tile& tile) const;

    // Of a stage by rows; its registers have `size` elements.
    void rows(const Stage& stage, int64_t row, int64_t rows, int64_t size) const;

  private:
    void product(const Group& group, int index, const Tile& tile, int64_t width, Values<T> to) const;
};

}  // namespace elman
