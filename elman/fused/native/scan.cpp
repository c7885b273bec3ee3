#include "scan.h"

#include <deque>
#include <optional>

#include "factor.h"
#include "gemm.h"
#include "interpreter.h"

namespace elman {
namespace {

// Rows whose left sides of a product are kept in the second cache while the panels pass over them.
constexpr int64_t ROW_BYTES = 384 * 1024;

// A rectangle of panels × rows that a thread owns in all stages of equal units.
struct Rectangle { int64_t panel, panels, row, rows; };

// All panels × rows, laid end to end and cut into equal shares: at most three rectangles each.
int share(int64_t panels, int64_t batch, int thread, int threads, Rectangle* out) {
    int count = 0;
    int64_t from = part(panels * batch, threads, thread);
    const int64_t to = part(panels * batch, threads, thread + 1);
    while (from < to) {
        const int64_t panel = from / batch, row = from % batch;
        int64_t wide = 1, rows = batch - row;
        if (row == 0 && to - from >= batch) wide = (to - from) / batch;
        else if (to - from < rows) rows = to - from;
        out[count++] = {panel, wide, row, rows};
        from += wide * rows;
    }
    return count;
}

// Elements of all panels of a group, each of its inner size, rounded up to whole vectors of columns.
template <class E> int64_t panel_elements(const Group& group) {
    return group.count * parts(group.units, LANES<E>) * elements<E>(group.inner) * LANES<E>;
}

// How many rows of its left sides a stage takes at a time.
template <class E> int64_t rows_at_once(const Stage& stage) {
    const int64_t fit = ROW_BYTES / static_cast<int64_t>(sizeof(E)) / elements<E>(stage.inner);
    return fit < TILE_VECTORS ? TILE_VECTORS : fit;
}

template <class E> struct Layout {
    using T = Value<E>;
    int64_t packed, groups, registers, values, sides, side_of, places, shared, own, total;  // bytes from the start of the scratch memory

    explicit Layout(const Run& run) {
        int64_t used = 0;
        const auto take = [&](int64_t bytes) {
            const int64_t at = used;
            used += (bytes + 127) / 128 * 128;  // threads' memory never shares a cache line
            return at;
        };
        int64_t panels = 0, room = 0, beside = 0, most = 0;
        for (int64_t g = 0; !run.weights && g < run.group_count; ++g) panels += panel_elements<E>(run.groups[g]);
        for (int64_t s = 0; s < run.stage_count; ++s) {
            const int64_t needed = register_size(run.stages[s]) * run.stages[s].registers;
            const int64_t left = side_elements(run, run.stages[s]);
            room = needed > room ? needed : room;
            beside = left > beside ? left : beside;
            most = run.stages[s].registers > most ? run.stages[s].registers : most;
        }
        const int64_t t = run.threads, size = sizeof(T);
        packed = take(panels * static_cast<int64_t>(sizeof(E)));
        groups = take(run.group_count * static_cast<int64_t>(sizeof(int64_t)));
        registers_each_ = (room * size + 127) / 128 * 128;
        registers = take(registers_each_ * t);
        values_each_ = (most * static_cast<int64_t>(sizeof(Values<T>)) + 127) / 128 * 128;
        values = take(values_each_ * t);
        sides_each_ = (beside * static_cast<int64_t>(sizeof(E)) + 127) / 128 * 128;
        sides = take(sides_each_ * t);
        side_of_each_ = (run.group_count * static_cast<int64_t>(sizeof(int64_t)) + 127) / 128 * 128;
        side_of = take(side_of_each_ * t);
        places_each_ = (run.buffer_count * static_cast<int64_t>(sizeof(typename Steps<T>::Place)) + 127) / 128 * 128;
        places = take(places_each_ * t);
        shared = take(factor_shared<E>(run) * static_cast<int64_t>(sizeof(E)));
        own_each_ = (factor_own<E>(run) * static_cast<int64_t>(sizeof(E)) + 127) / 128 * 128;
        own = take(own_each_ * t);
        total = used + 128;
    }

    static int64_t register_size(const Stage& stage) {
        if (!stage.by_rows) return TILE_VECTORS * LANES<T>;
        // One vector more: registers a power of two apart would all fall into the same few lines of the first cache.
        return (whole_rows(stage) * parts(stage.width, LANES<T>) + 1) * LANES<T>;
    }

    // How many rows a stage by rows does at a time.
    static int64_t whole_rows(const Stage& stage) {
        const int64_t bytes = stage.registers * parts(stage.width, LANES<T>) * VECTOR_BYTES;
        const int64_t fit = bytes ? REGISTER_BYTES / bytes : MOST_WHOLE_ROWS;
        return fit < 1 ? 1 : fit < MOST_WHOLE_ROWS ? fit : MOST_WHOLE_ROWS;
    }

    // Room for the left sides of a stage that are made anew.
    static int64_t side_elements(const Run& run, const Stage& stage) {
        if (STEPS<E> == 1) return 0;
        int64_t inner = 0;
        for (int32_t k = 0; k < stage.count; ++k) {
            const Instruction& i = run.instructions[stage.first + k];
            if (i.op == Op::product) inner += elements<E>(run.groups[i.a].inner);
        }
        const int64_t rows = inner ? rows_at_once<E>(stage) : 0;
        const int64_t all_rows = run.together * run.batch;
        return (rows < all_rows ? rows : all_rows) * inner;
    }

    int64_t registers_of(int thread) const { return registers + registers_each_ * thread; }
    int64_t values_of(int thread) const { return values + values_each_ * thread; }
    int64_t sides_of(int thread) const { return sides + sides_each_ * thread; }
    int64_t side_of_of(int thread) const { return side_of + side_of_each_ * thread; }
    int64_t places_of(int thread) const { return places + places_each_ * thread; }
    int64_t own_of(int thread) const { return own + own_each_ * thread; }

  private:
    int64_t registers_each_, values_each_, sides_each_, side_of_each_, places_each_, own_each_;
};

// A run with its scratch memory, for all threads.
template <class E> struct Work {
    using T = Value<E>;
    const Run& run;
    Layout<E> layout;
    char* scratch;

    template <class Kind> Kind* at(int64_t place) const { return reinterpret_cast<Kind*>(scratch + place); }

    explicit Work(const Run& r) : run(r), layout(r) {
        scratch = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(r.scratch) + 127) / 128 * 128);
        int64_t* starts = reinterpret_cast<int64_t*>(scratch + layout.groups);
        int64_t used = 0;
        for (int64_t g = 0; g < run.group_count; ++g) {
            starts[g] = used;
            used += panel_elements<E>(run.groups[g]);
        }
    }

    // The panels of all products, dealt out one by one.
    void pack(int thread, int threads) const {
        E* to = reinterpret_cast<E*>(scratch + layout.packed);
        int64_t dealt = 0;
        for (int64_t g = 0; g < run.group_count; ++g) {
            const Group& group = run.groups[g];
            for (int32_t p = 0; p < group.count; ++p) {
                const Product& product = run.products[group.first + p];
                const Matrix& matrix = run.matrices[product.matrix];
                for (int64_t n = 0; n < group.units; n += LANES<E>, to += elements<E>(group.inner) * LANES<E>) {
                    if (dealt++ % threads != thread) continue;
                    const T* from = static_cast<const T*>(matrix.at) + (product.start + n) * matrix.step_n;
                    pack_panel(from, matrix.step_k, matrix.step_n, group.inner, group.units - n, to);
                }
            }
        }
    }

};

// One thread's part in a run.
template <class E> struct Worker {
    using T = Value<E>;
    const Run& run;
    const Work<E>& work;
    Barrier& barrier;
    int thread, threads;
    Steps<T> steps;
    Interpreter<E> interpreter;

    Worker(const Work<E>& w, Barrier& b, int thread, int threads)
        : run(w.run), work(w), barrier(b), thread(thread), threads(threads),
          steps(run, w.template at<typename Steps<T>::Place>(w.layout.places_of(thread))),
          interpreter{run, steps, w.template at<const E>(w.layout.packed), w.template at<const int64_t>(w.layout.groups),
                      w.template at<T>(w.layout.registers_of(thread)), w.template at<E>(w.layout.sides_of(thread)),
                      w.template at<int64_t>(w.layout.side_of_of(thread)),
                      w.template at<Values<T>>(w.layout.values_of(thread)), thread} {
        if (!run.weights) w.pack(thread, threads);
    }

    Worker(const Worker&) = delete;

    void tiles(const Stage& stage, const Rectangle& all) const {
        constexpr int V = LANES<T>;
        const int64_t blocks = stage.inner ? parts(all.rows, rows_at_once<E>(stage)) : 1;
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t row = all.row + part(all.rows, blocks, block);
            const int64_t rows = all.row + part(all.rows, blocks, block + 1) - row;
            interpreter.prepare(stage, row, rows);
            // Wide enough to fill a block of the product, wider where there are few rows.
            int64_t wide = stage.widest > 0 && stage.widest < PANELS ? PANELS / stage.widest : 1;
            if (stage.widest == 0) wide = 8;
            if (wide * rows < TILE_VECTORS) wide = TILE_VECTORS / rows;
            const int64_t across = parts(all.panels, wide);
            Tile now{}, next;
            for (int64_t j = 0; j < across; ++j) {
                const int64_t panel = all.panel + part(all.panels, across, j);
                const int64_t panels = all.panel + part(all.panels, across, j + 1) - panel;
                const int64_t unit = panel * V, left = stage.units - unit;
                const int64_t down = parts(rows, TILE_VECTORS / panels);
                for (int64_t k = 0; k < down; ++k) {
                    const int64_t top = part(rows, down, k), height = part(rows, down, k + 1) - top;
                    next = {row + top, height, unit, left < panels * V ? left : panels * V, TILE_VECTORS * V, k};
                    interpreter.fetch(stage, next);
                    if (now.rows) interpreter.tile(stage, now);
                    now = next;
                }
            }
            if (now.rows) interpreter.tile(stage, now);
        }
    }

    // All stages of the steps from `t` on that are visited together.
    void visit(int64_t t) {
        steps.aim(t);
        const int64_t rows = steps.rows();
        const int64_t first_row = part(rows, threads, thread), last_row = part(rows, threads, thread + 1);
        for (int64_t s = 0; s < run.stage_count; ++s) {
            const Stage& stage = run.stages[s];
            if (stage.barrier) barrier.wait(threads);
            if (stage.by_rows) {
                const int64_t whole = Layout<E>::whole_rows(stage), size = Layout<E>::register_size(stage);
                for (int64_t row = first_row; row < last_row; row += whole)
                    interpreter.rows(stage, row, last_row - row < whole ? last_row - row : whole, size);
                continue;
            }
            Rectangle mine[3];
            const int count = share(parts(stage.units, LANES<T>), rows, thread, threads, mine);
            for (int k = 0; k < count; ++k) tiles(stage, mine[k]);
        }
    }

    Gradient<E> gradient(int64_t f) const {
        return {&run, run.factors + f, &steps, work.template at<E>(work.layout.shared)};
    }
};

// A scan and what is done before and after each chunk of its steps, so that what passes between them is still in
// the caches.
template <class E> struct Scan {
    const Run& run;
    Work<E> own;
    std::optional<Work<E>> before, after;
    Barrier barrier;

    explicit Scan(const Run& r) : run(r), own(r) {
        if (run.before) before.emplace(*run.before);
        if (run.after) after.emplace(*run.after);
    }

    // Of all matrices: those of the steps first, each with one of `last` that has the same left side; then the others.
    void gradients(const Worker<E>& steps, const Worker<E>* last, int64_t begin, int64_t end, bool fresh) {
        const auto add = [&](const Worker<E>& whose, const Gradient<E>* some, int count) {
            E* const room = whose.work.template at<E>(whose.work.layout.own_of(whose.thread));
            add_up(some, count, begin, end, fresh, room, barrier, whose.thread, whose.threads);
        };
        const int64_t others = last ? last->run.factor_count : 0;
        uint64_t done = 0;  // which of `last`
        for (int64_t f = 0; f < run.factor_count; ++f) {
            Gradient<E> pair[2] = {steps.gradient(f)};
            int count = 1;
            for (int64_t k = 0; k < others && k < 64 && count == 1; ++k) {
                if (done >> k & 1 || last->run.factors[k].accumulate || !same_left(*pair, last->gradient(k))) continue;
                done |= uint64_t{1} << k;
                pair[count++] = last->gradient(k);
            }
            add(steps, pair, count);
        }
        for (int64_t k = 0; k < others; ++k) {
            const Gradient<E> one = last->gradient(k);
            if (k >= 64 || !(done >> k & 1)) add(*last, &one, 1);
        }
    }

    void thread(int thread, int threads) {
        Worker<E> steps(own, barrier, thread, threads);
        std::optional<Worker<E>> first, last;
        if (before) first.emplace(*before, barrier, thread, threads);
        if (after) last.emplace(*after, barrier, thread, threads);
        if (!run.weights) barrier.wait(threads);
        const int64_t chunks = parts(run.steps, run.chunk);
        for (int64_t k = 0; k < chunks; ++k) {
            const int64_t begin = (run.descending ? chunks - 1 - k : k) * run.chunk;
            const int64_t end = begin + run.chunk < run.steps ? begin + run.chunk : run.steps;
            if (first) {
                first->visit(begin);
                barrier.wait(threads);
            }
            for (int64_t step = begin; step < end; ++step)
                steps.visit(run.descending ? begin + end - 1 - step : step);
            if (last) {
                barrier.wait(threads);
                last->visit(begin);
            }
            gradients(steps, last ? &*last : nullptr, begin, end, k == 0);
            if (k + 1 < chunks) barrier.wait(threads);  // the next chunk takes the place of this one
        }
    }
};

}  // namespace

template <class E> int64_t scratch_bytes(const Run& run) { return Layout<E>(run).total; }

template <class E> void scan(const Run& run) {
    Scan<E> scan(run);
    on_team(static_cast<int>(run.threads),
            [](void* data, int thread, int threads) { static_cast<Scan<E>*>(data)->thread(thread, threads); }, &scan);
}

namespace {

// The scans of one layer.
template <class E> struct Layer {
    const Job* jobs;
    std::deque<Scan<E>> scans;
    int planned = 1;

    void thread(int thread, int threads) {
        for (size_t k = 0; k < scans.size(); ++k) {
            // On a smaller team than planned: one scan after the other, by all.
            const int first = threads < planned ? 0 : static_cast<int>(jobs[k].first);
            const int wanted = static_cast<int>(jobs[k].run->threads), mine = wanted < threads ? wanted : threads;
            if (thread >= first && thread < first + mine) scans[k].thread(thread - first, mine);
        }
    }
};

}  // namespace

template <class E> void scan(const Job* jobs, int64_t count) {
    for (const Job *begin = jobs, *end; begin < jobs + count; begin = end) {
        for (end = begin + 1; end < jobs + count && end->layer == begin->layer;) ++end;
        if (end == begin + 1) {
            scan<E>(*begin->run);
            continue;
        }
        Layer<E> layer{begin, {}};
        for (const Job* job = begin; job < end; ++job) {
            layer.scans.emplace_back(*job->run);
            const int64_t behind = job->first + job->run->threads;
            if (behind > layer.planned) layer.planned = static_cast<int>(behind);
        }
        on_team(layer.planned,
                [](void* data, int thread, int threads) { static_cast<Layer<E>*>(data)->thread(thread, threads); }, &layer);
    }
}

template int64_t scratch_bytes<float>(const Run&);
template int64_t scratch_bytes<double>(const Run&);
template int64_t scratch_bytes<Pair>(const Run&);
template void scan<float>(const Run&);
template void scan<double>(const Run&);
template void scan<Pair>(const Run&);
template void scan<float>(const Job*, int64_t);
template void scan<double>(const Job*, int64_t);
template void scan<Pair>(const Job*, int64_t);

}  // namespace elman
