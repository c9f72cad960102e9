#include <cstring>
#include <vector>

#include "core/simd.hpp"
#include "stream/patch_values.hpp"
#include "stream/patches.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// Pixels laid ready at a time, and values computed before they leave around the caches: both stay
// in the first cache.
constexpr std::int64_t kStagedBytes = 12 << 10;
constexpr std::int64_t kLeavingBytes = 4 << 10;

// Patches with more bytes of pixels than this are computed some rows at a time.
constexpr std::int64_t kTallBytes = 32 << 10;

// Copies past the caches: the output is larger than they are, and nobody reads it soon.
inline void stream_out(const char* from, std::size_t bytes, char* to) {
  using Block = Vector<char, kVectorBytes>;
  constexpr std::size_t kBytes = sizeof(Block);
  const std::size_t ahead = (kBytes - reinterpret_cast<std::uintptr_t>(to) % kBytes) % kBytes;
  std::size_t at = ahead < bytes ? ahead : bytes;
  std::memcpy(to, from, at);
  for (; at + kBytes <= bytes; at += kBytes) stream_bytes(to + at, load_as<Block>(from + at));
  std::memcpy(to + at, from + at, bytes - at);
}

// Only tables make bytes, and a table's entries are copied as they are.
struct Byte {
  std::uint8_t bits;
};
using tokfrag::narrow;
inline void narrow(float value, Byte& to) { to.bits = static_cast<std::uint8_t>(value); }

// How the pixels of a row lie where they are staged.
enum class Staged { kPlanes, kTriples, kWhole };

template <class Out>
struct Workspace {
  std::vector<char> staged;
  std::vector<Out> leaving;
  ChannelScales scales;
};

template <class Out>
class Strip {
 public:
  Strip(const PatchTask& task, const PatchItem& item, std::int64_t number)
      : task_(task),
        item_(item),
        time_(number / (item.h / task.merge)),
        group_row_(number % (item.h / task.merge)),
        item_bytes_(task.type == Dtype::kU8 ? 1 : 4) {
    if (task.column_step != 1) {
      staged_as_ = Staged::kWhole;
    } else if (kHasTriples && task.type == Dtype::kU8 && task.channels == 3 &&
               item.channel_stride == 1 && item.column_stride == 3) {
      staged_as_ = Staged::kTriples;
    } else {
      staged_as_ = Staged::kPlanes;
    }
  }

  // Some groups of patches at a time: their pixels laid ready, then computed patch by patch, in
  // lanes, so that the output is written once from its beginning to its end.
  void by_rows(Workspace<Out>& work) const {
    const std::int64_t m = task_.merge;
    const std::int64_t rows = m * task_.patch_rows;
    const std::int64_t group_bytes = m * task_.patch_columns * task_.channels * item_bytes_;
    if (task_.patch_rows * task_.patch_columns * task_.channels * item_bytes_ > kTallBytes) {
      return by_parts(work);
    }
    std::int64_t groups = kStagedBytes / (rows * group_bytes);
    groups = groups < 1 ? 1 : groups > item_.w / m ? item_.w / m : groups;
    // Channels of a row lie one after another; vectors are read beyond the last.
    const std::int64_t apart = groups * m * task_.patch_columns;
    const std::int64_t pitch = apart * task_.channels * item_bytes_ + 2 * kVectorBytes;
    work.staged.resize(static_cast<std::size_t>(rows * pitch));
    const std::int64_t at_once = kLeavingBytes / (patch_values() * std::int64_t{sizeof(Out)}) + 1;
    work.leaving.resize(static_cast<std::size_t>(at_once * patch_values()));
    std::int64_t next = 0;
    for (std::int64_t k = 0; k < task_.frames_per_patch; k = next) {
      const std::int64_t frame = frame_of(k);
      for (next = k + 1; next < task_.frames_per_patch && frame_of(next) == frame; ++next) {
      }
      // Only a patch that holds one frame, once or more, is whole at once.
      const bool leave = task_.past_caches && k == 0 && next == task_.frames_per_patch;
      for (std::int64_t x = 0; x < item_.w / m; x += groups) {
        const std::int64_t count = x + groups < item_.w / m ? groups : item_.w / m - x;
        for (std::int64_t row = 0; row < rows; ++row) {
          stage(row_of(frame, row) + x * m * task_.patch_columns * item_.column_stride,
                count * m * task_.patch_columns, apart, work.staged.data() + row * pitch);
        }
        Out* const first = place_of(x * m, 0, 0);
        const std::int64_t patches = count * m * m;
        for (std::int64_t begin = 0; begin < patches; begin += at_once) {
          const std::int64_t end = begin + at_once < patches ? begin + at_once : patches;
          Out* const place = first + begin * patch_values();
          Out* const to = leave ? work.leaving.data() : place;
          for (std::int64_t p = begin; p < end; ++p) {
            const std::int64_t column = (p / (m * m) * m + p % m) * task_.patch_columns;
            const char* from = work.staged.data() + p % (m * m) / m * task_.patch_rows * pitch;
            compute(work.scales, from, task_.patch_rows, pitch, apart, column, k, next,
                    to + (p - begin) * patch_values());
          }
          if (leave) {
            stream_out(reinterpret_cast<const char*>(to),
                       static_cast<std::size_t>((end - begin) * patch_values()) * sizeof(Out),
                       reinterpret_cast<char*>(place));
          }
        }
      }
    }
  }

  // Tall patches, each some rows at a time, so that what is staged stays in the first cache.
  void by_parts(Workspace<Out>& work) const {
    const std::int64_t columns = task_.patch_columns;
    const std::int64_t pitch = columns * task_.channels * item_bytes_ + 2 * kVectorBytes;
    const std::int64_t at_once = kStagedBytes / pitch + 1;
    work.staged.resize(static_cast<std::size_t>(at_once * pitch));
    std::int64_t next = 0;
    for (std::int64_t k = 0; k < task_.frames_per_patch; k = next) {
      const std::int64_t frame = frame_of(k);
      for (next = k + 1; next < task_.frames_per_patch && frame_of(next) == frame; ++next) {
      }
      for (std::int64_t first = 0; first < task_.merge * task_.patch_rows;
           first += task_.patch_rows) {
        for (std::int64_t x = 0; x < item_.w; ++x) {
          Out* const to = place_of(x, first, 0);
          for (std::int64_t y = 0; y < task_.patch_rows; y += at_once) {
            const std::int64_t left = task_.patch_rows - y;
            const std::int64_t count = left < at_once ? left : at_once;
            for (std::int64_t row = 0; row < count; ++row) {
              stage(row_of(frame, first + y + row) + x * columns * item_.column_stride, columns,
                    columns, work.staged.data() + row * pitch);
            }
            compute(work.scales, work.staged.data(), count, pitch, columns, 0, k, next,
                    to + y * task_.row_step);
          }
        }
      }
    }
  }

  // Value by value: what the table says, or where neither the columns nor the channels of a patch
  // lie side by side.
  void by_values() const {
    for (std::int64_t k = 0; k < task_.frames_per_patch; ++k) {
      for (std::int64_t row = 0; row < task_.merge * task_.patch_rows; ++row) {
        const char* from = row_of(frame_of(k), row);
        for (std::int64_t channel = 0; channel < task_.channels; ++channel) {
          for (std::int64_t x = 0; x < item_.w; ++x) {
            Out* to = place_of(x, row, channel) + k * task_.frame_step;
            const char* at = from + channel * item_.channel_stride +
                             x * task_.patch_columns * item_.column_stride;
            for (std::int64_t c = 0; c < task_.patch_columns; ++c, at += item_.column_stride) {
              to[c * task_.column_step] = value_of(at, channel);
            }
          }
        }
      }
    }
  }

 private:
  // Lays the pixels of a row ready: as they are where they may be read so, else channel by channel,
  // or pixel by pixel where that is how a patch has them.
  void stage(const char* from, std::int64_t count, std::int64_t apart, char* to) const {
    const std::int64_t channels = task_.channels;
    const std::int64_t pixel = channels * item_bytes_;
    const bool whole = item_.channel_stride == item_bytes_ && item_.column_stride == pixel;
    if (staged_as_ != Staged::kPlanes && whole) {
      std::memcpy(to, from, static_cast<std::size_t>(count * pixel));
      return;
    }
    const bool planes = staged_as_ == Staged::kPlanes;
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      char* const first = to + channel * item_bytes_ * (planes ? apart : 1);
      const char* at = from + channel * item_.channel_stride;
      if (planes && item_.column_stride == item_bytes_) {
        std::memcpy(first, at, static_cast<std::size_t>(count * item_bytes_));
      } else if (item_bytes_ == 1) {
        for (std::int64_t x = 0; x < count; ++x) {
          first[x * (planes ? 1 : channels)] = at[x * item_.column_stride];
        }
      } else {
        for (std::int64_t x = 0; x < count; ++x) {
          std::memcpy(first + x * (planes ? item_bytes_ : pixel), at + x * item_.column_stride, 4);
        }
      }
    }
  }

  // One patch's frames [k, k_end), all the same, from its staged rows.
  void compute(const ChannelScales& scales, const char* rows, std::int64_t count,
               std::int64_t pitch, std::int64_t apart, std::int64_t column, std::int64_t k,
               std::int64_t k_end, Out* to) const {
    PatchRows job{
        rows, pitch, count, task_.row_step, k_end - k, task_.frame_step, task_.patch_columns};
    Out* const first = to + k * task_.frame_step;
    if (staged_as_ == Staged::kWhole) {
      job.from = rows + column * task_.channels * item_bytes_;
      job.columns *= task_.channels;
      if (task_.type == Dtype::kU8) {
        compute_rows<true>(Plain<std::uint8_t>(), task_.formula, scales.all(), job, first);
      } else {
        compute_rows<true>(Plain<float>(), task_.formula, scales.all(), job, first);
      }
      return;
    }
    for (int channel = 0; channel < task_.channels; ++channel) {
      Out* const plane = first + channel * task_.channel_step;
      const ScaleNumbers scale = scales.of(channel);
      if (staged_as_ == Staged::kTriples) {
        job.from = rows + 3 * column;
        compute_rows<false>(Triples(channel), task_.formula, scale, job, plane);
        continue;
      }
      job.from = rows + (channel * apart + column) * item_bytes_;
      if (task_.type == Dtype::kU8) {
        compute_rows<false>(Plain<std::uint8_t>(), task_.formula, scale, job, plane);
      } else {
        compute_rows<false>(Plain<float>(), task_.formula, scale, job, plane);
      }
    }
  }

  std::int64_t patch_values() const {
    return task_.frames_per_patch * task_.patch_rows * task_.patch_columns * task_.channels;
  }

  std::int64_t frame_of(std::int64_t k) const {
    const std::int64_t wanted = time_ * task_.frames_per_patch + k;
    return wanted < item_.frames ? wanted : item_.frames - 1;
  }

  // `row` counts from the strip's first.
  const char* row_of(std::int64_t frame, std::int64_t row) const {
    const std::int64_t first = group_row_ * task_.merge * task_.patch_rows;
    return static_cast<const char*>(item_.data) + frame * item_.frame_stride +
           (first + row) * item_.row_stride;
  }

  // Where the values of the patch in column x go that come from a row and a channel.
  Out* place_of(std::int64_t x, std::int64_t row, std::int64_t channel) const {
    const std::int64_t m = task_.merge;
    const std::int64_t in_group = row / task_.patch_rows * m + x % m;
    const std::int64_t group = (time_ * (item_.h / m) + group_row_) * (item_.w / m) + x / m;
    const std::int64_t patch = item_.first_patch + group * m * m + in_group;
    return static_cast<Out*>(task_.out) + patch * patch_values() +
           row % task_.patch_rows * task_.row_step + channel * task_.channel_step;
  }

  Out value_of(const char* at, std::int64_t channel) const {
    if (task_.formula == PatchFormula::kTable) {
      const auto byte = *reinterpret_cast<const std::uint8_t*>(at);
      return static_cast<const Out*>(task_.table)[channel * 256 + byte];
    }
    float value = 0;
    if (task_.type == Dtype::kU8) {
      value = *reinterpret_cast<const std::uint8_t*>(at);
    } else {
      std::memcpy(&value, at, sizeof value);
    }
    Out to;
    narrow(scaled(task_, channel, value), to);
    return to;
  }

  const PatchTask& task_;
  const PatchItem& item_;
  std::int64_t time_, group_row_;
  std::int64_t item_bytes_;  // of a number of a pixel
  Staged staged_as_;
};

template <class Out>
void fill(const PatchTask& task, std::int64_t begin, std::int64_t end) {
  const bool whole = task.channel_step == 1 && task.column_step == task.channels;
  const bool rows = task.formula != PatchFormula::kTable && (task.column_step == 1 || whole);
  Workspace<Out> work;
  if (rows) work.scales = ChannelScales(task);
  std::int64_t number = 0;
  for (std::int64_t strip = begin; strip < end; ++strip) {
    while (number + 1 < task.item_count && task.items[number + 1].first_strip <= strip) ++number;
    const PatchItem& item = task.items[number];
    const Strip<Out> made(task, item, strip - item.first_strip);
    if constexpr (!std::is_same_v<Out, Byte>) {
      if (rows) {
        made.by_rows(work);
        continue;
      }
    }
    made.by_values();
  }
  fence();
}

void run(const PatchTask& task, std::int64_t begin, std::int64_t end) {
  switch (task.out_type) {
    case Dtype::kF32:
      return fill<float>(task, begin, end);
    case Dtype::kF16:
      return fill<Half>(task, begin, end);
    case Dtype::kBF16:
      return fill<BFloat16>(task, begin, end);
    default:
      return fill<Byte>(task, begin, end);
  }
}

}  // namespace

extern const PatchKernels patch_kernel_table;
const PatchKernels patch_kernel_table = {run};

}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
