#include "fragments/stitch/stitch.hpp"

#include <algorithm>

#include "core/cache_size.hpp"
#include "core/parallel.hpp"
#include "fragments/grid/walk.hpp"
#include "fragments/stitch/stitch_kernel.hpp"

namespace tokfrag {

namespace {

// Numbers added or written that are worth a thread.
constexpr std::int64_t kGrainNumbers = std::int64_t{32} << 10;
// A result that takes more of the last-level cache than one part in so many is written around it.
constexpr std::int64_t kCacheShare = 4;
// Sums that all fragments of a batch are added to before the next ones.
constexpr std::int64_t kBlockNumbers = std::int64_t{32} << 10;

template <class Sum>
const StitchLoops<Sum>& loops();
template <>
const StitchLoops<float>& loops<float>() {
  return stitch_kernels().narrow;
}
template <>
const StitchLoops<double>& loops<double>() {
  return stitch_kernels().wide;
}

std::int64_t wrapped(std::int64_t position, std::int64_t length) {
  const std::int64_t rest = position % length;
  return rest < 0 ? rest + length : rest;
}

// Adds fragments to a stretch of the slab along axis 0.
template <class Sum>
class Adder {
 public:
  Adder(const StitchSlab& slab, const StitchAdd& task)
      : slab_(slab),
        task_(task),
        last_(slab.rank - 1),
        add_((task.keep_max ? loops<Sum>().keep_max
                            : loops<Sum>().add)[static_cast<std::size_t>(task.dtype)]) {
    for (int axis = 1; axis <= last_; ++axis) plane_ *= task.size[axis];
  }

  // Positions [begin, end) of axis 0, of one channel.
  void add(std::int64_t channel, std::int64_t begin, std::int64_t end) const {
    const std::int64_t length = slab_.lengths[0];
    const std::int64_t step = task_.dilation[0];
    for (std::int64_t i = 0; i < task_.count; ++i) {
      // A window that goes around the ring is one that begins here, or a turn earlier.
      const std::int64_t origin = wrapped(task_.origins[i * slab_.rank], length);
      for (const std::int64_t start : {origin - length, origin}) {
        const std::int64_t first = begin > start ? (begin - start + step - 1) / step : 0;
        const std::int64_t inside = end > start ? (end - 1 - start) / step + 1 : 0;
        const std::int64_t last = std::min(inside, task_.size[0]);
        if (first < last) add_taps(i, channel, start + first * step, first, last - first);
      }
    }
  }

 private:
  const Sum* weights(std::int64_t i, int axis) const {
    if (task_.vectors[axis] == nullptr) return nullptr;
    return static_cast<const Sum*>(task_.vectors[axis]) +
           task_.variants[i * slab_.rank + axis] * task_.size[axis];
  }

  // `count` taps of axis 0 from `tap` on, which lie at `position` and after.
  void add_taps(std::int64_t i, std::int64_t channel, std::int64_t position, std::int64_t tap,
                std::int64_t count) const {
    StitchRows<Sum> rows{};
    rows.sums = static_cast<Sum*>(slab_.sums) + channel * slab_.step(-1) + position * slab_.step(0);
    if (task_.fragments != nullptr) {
      rows.from = static_cast<const char*>(task_.fragments) + i * task_.fragment_stride +
                  channel * task_.channel_stride + tap * task_.tap_strides[0];
    }
    rows.scale = Sum{1};
    rows.step = task_.dilation[last_];
    rows.from_step = task_.tap_strides[last_];
    rows.rows = 1;
    rows.count = last_ == 0 ? count : task_.size[last_];
    rows.weights = weights(i, last_);
    if (task_.whole != nullptr) {
      rows.weights = static_cast<const Sum*>(task_.whole) + tap * plane_;
      rows.weights_row_step = task_.size[last_];
    } else if (last_ == 0 && rows.weights != nullptr) {
      rows.weights += tap;
    }
    if (last_ == 0) return add_(rows);
    const std::int64_t* origin = task_.origins + i * slab_.rank;
    rows.sums += origin[last_];
    const Sum* outer = weights(i, 0);
    if (last_ == 1) {  // the taps of axis 0 are the rows
      rows.rows = count;
      rows.sums_row_step = task_.dilation[0] * slab_.step(0);
      rows.from_row_step = task_.tap_strides[0];
      rows.row_scales = outer == nullptr ? nullptr : outer + tap;
      rows.ahead = ahead(rows.sums, position, count);
      return add_(rows);
    }
    const int inner = last_ - 1;
    rows.rows = task_.size[inner];
    rows.sums_row_step = task_.dilation[inner] * slab_.step(inner);
    rows.from_row_step = task_.tap_strides[inner];
    rows.row_scales = weights(i, inner);
    for (int axis = 1; axis < last_; ++axis) rows.sums += origin[axis] * slab_.step(axis);
    for (std::int64_t k = 0; k < count; ++k) {
      rows.scale = outer == nullptr ? Sum{1} : outer[tap + k];
      rows.ahead = ahead(rows.sums, position + k * task_.dilation[0], 1);
      add_plane(i, rows);
      rows.sums += task_.dilation[0] * slab_.step(0);
      if (rows.from != nullptr) rows.from += task_.tap_strides[0];
      if (task_.whole != nullptr) rows.weights += plane_;
    }
  }

  // The sums `count` taps of axis 0 further, where the slab still has them.
  const Sum* ahead(const Sum* sums, std::int64_t position, std::int64_t count) const {
    const std::int64_t step = count * task_.dilation[0];
    const bool inside = position + step + count <= slab_.lengths[0];
    return inside ? sums + step * slab_.step(0) : nullptr;
  }

  // One tap of axis 0: the axes between it and the rows are walked over.
  void add_plane(std::int64_t i, const StitchRows<Sum>& plane) const {
    Odometer taps;
    taps.axes = last_ - 2;
    for (int axis = 1; axis < last_ - 1; ++axis) taps.length[axis - 1] = task_.size[axis];
    do {
      StitchRows<Sum> rows = plane;
      std::int64_t in_window = 0;
      for (int axis = 1; axis < last_ - 1; ++axis) {
        const std::int64_t k = taps.position[axis - 1];
        rows.sums += k * task_.dilation[axis] * slab_.step(axis);
        if (rows.ahead != nullptr) rows.ahead += k * task_.dilation[axis] * slab_.step(axis);
        if (rows.from != nullptr) rows.from += k * task_.tap_strides[axis];
        in_window = in_window * task_.size[axis] + k;
        const Sum* own = weights(i, axis);
        if (own != nullptr) rows.scale *= own[k];
      }
      if (task_.whole != nullptr) {
        rows.weights += in_window * task_.size[last_ - 1] * task_.size[last_];
      }
      add_(rows);
    } while (taps.advance() >= 0);
  }

  const StitchSlab& slab_;
  const StitchAdd& task_;
  const int last_;
  std::int64_t plane_ = 1;  // positions of a window for one of axis 0
  void (*const add_)(const StitchRows<Sum>&);
};

template <class Sum>
void add(const StitchSlab& slab, const StitchAdd& task, int threads) {
  const Adder<Sum> adder(slab, task);
  // One plane at a time, or with fewer axes some rows: what stays in the cache.
  const std::int64_t step = std::max<std::int64_t>(slab.step(0), 1);
  const std::int64_t block = std::max<std::int64_t>(kBlockNumbers / step, 1);
  const std::int64_t blocks = (slab.lengths[0] + block - 1) / block;
  std::int64_t numbers = task.count;
  for (int axis = 0; axis < slab.rank; ++axis) numbers *= task.size[axis];
  const std::int64_t grain = kGrainNumbers * blocks / std::max<std::int64_t>(numbers, 1) + 1;
  parallel_for(slab.channels * blocks, grain, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t item = begin; item < end; ++item) {
                   const std::int64_t first = item % blocks * block;
                   adder.add(item / blocks, first, std::min(first + block, slab.lengths[0]));
                 }
               });
}

// Writes rows along the last axis of emitted planes.
template <class Sum>
class Emitter {
 public:
  Emitter(const StitchSlab& slab, const StitchEmit& task)
      : slab_(slab),
        task_(task),
        last_(slab.rank - 1),
        emit_((task.keep_max ? loops<Sum>().emit_max
                             : loops<Sum>().emit)[static_cast<std::size_t>(task.dtype)]),
        empty_(task.keep_max ? -static_cast<Sum>(__builtin_inff()) : Sum{0}),
        stream_(slab.channels * task.channel_stride > last_level_cache_bytes() / kCacheShare) {}

  void emit_plane(std::int64_t channel, std::int64_t plane) const {
    const std::int64_t position = wrapped(task_.first + plane, slab_.lengths[0]);
    const std::int64_t at = position * slab_.step(0);
    Odometer rows;
    rows.axes = last_ - 1;
    for (int axis = 1; axis < last_; ++axis) rows.length[axis - 1] = task_.extents[axis];
    Sum* sums = static_cast<Sum*>(slab_.sums) + channel * slab_.step(-1) + at;
    if (task_.extents[last_] > 0 && rows.total() > 0) {
      do {
        emit_row(channel, plane, sums, rows);
      } while (rows.advance() >= 0);
    }
    if (!covers_plane()) std::fill(sums, sums + slab_.step(0), empty_);
  }

  // With one axis, the emitted positions are one or two stretches of the ring.
  void emit_around(std::int64_t channel) const {
    const std::int64_t length = slab_.lengths[0];
    for (std::int64_t done = 0; done < task_.extents[0];) {
      const std::int64_t at = wrapped(task_.first + done, length);
      const std::int64_t count = std::min(length - at, task_.extents[0] - done);
      emit_(
          {static_cast<char*>(task_.out) + channel * task_.channel_stride + done * task_.strides[0],
           task_.strides[0], static_cast<Sum*>(slab_.sums) + channel * length + at, Sum{1},
           factors(0) == nullptr ? nullptr : factors(0) + done,
           divisors() == nullptr ? nullptr : divisors() + done, count, stream_});
      done += count;
    }
  }

 private:
  const Sum* factors(int axis) const { return static_cast<const Sum*>(task_.factors[axis]); }
  const Sum* divisors() const { return static_cast<const Sum*>(task_.divisors); }

  // Whether the rows written are all of a plane, so that nothing else is left to empty.
  bool covers_plane() const {
    for (int axis = 1; axis <= last_; ++axis) {
      if (task_.extents[axis] != slab_.lengths[axis]) return false;
    }
    return true;
  }

  void emit_row(std::int64_t channel, std::int64_t plane, Sum* sums, const Odometer& rows) const {
    std::int64_t place = 0;
    char* out =
        static_cast<char*>(task_.out) + channel * task_.channel_stride + plane * task_.strides[0];
    const Sum* divisors = this->divisors();
    if (divisors != nullptr) divisors += task_.divisor_rows[0][plane];
    Sum scale = factors(0) == nullptr ? Sum{1} : factors(0)[plane];
    for (int axis = 1; axis < last_; ++axis) {
      const std::int64_t k = rows.position[axis - 1];
      if (divisors != nullptr) divisors += task_.divisor_rows[axis][k];
      place += k * slab_.step(axis);
      out += k * task_.strides[axis];
      if (factors(axis) != nullptr) scale *= factors(axis)[k];
    }
    emit_({out, task_.strides[last_], sums + place, scale, factors(last_), divisors,
           task_.extents[last_], stream_});
  }

  const StitchSlab& slab_;
  const StitchEmit& task_;
  const int last_;
  void (*const emit_)(const StitchOut<Sum>&);
  const Sum empty_;
  const bool stream_;
};

template <class Sum>
void emit(const StitchSlab& slab, const StitchEmit& task, int threads) {
  const Emitter<Sum> emitter(slab, task);
  const bool around = slab.rank == 1;
  const std::int64_t planes = around ? 1 : task.extents[0];
  const std::int64_t numbers = around ? task.extents[0] : slab.step(0);
  const std::int64_t grain = kGrainNumbers / std::max<std::int64_t>(numbers, 1) + 1;
  parallel_for(slab.channels * planes, grain, threads,
               [&](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t item = begin; item < end; ++item) {
                   if (around) {
                     emitter.emit_around(item);
                   } else {
                     emitter.emit_plane(item / planes, item % planes);
                   }
                 }
                 stitch_kernels().fence();
               });
}

}  // namespace

void stitch_add(const StitchSlab& slab, const StitchAdd& task, int threads) {
  if (slab.wide) {
    add<double>(slab, task, threads);
  } else {
    add<float>(slab, task, threads);
  }
}

void stitch_emit(const StitchSlab& slab, const StitchEmit& task, int threads) {
  if (slab.wide) {
    emit<double>(slab, task, threads);
  } else {
    emit<float>(slab, task, threads);
  }
}

}  // namespace tokfrag
