#include <cstring>
#include <vector>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "core/half.hpp"
#include "stream/patches.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// Values computed at a time, where one row of groups allows: they stay in the second cache.
constexpr std::int64_t kBlockValues = 1 << 14;

// x / by, with inverse = 1 / by: where multiply-add is fused, a product and its correction, which
// is the quotient rounded once for the bytes and scales at hand (the caller has tried all 256).
inline float divided(float x, float by, float inverse) {
#ifdef __FMA__
  const float near = x * inverse;
  return __builtin_fmaf(__builtin_fmaf(-near, by, x), inverse, near);
#else
  (void)inverse;
  return x / by;
#endif
}

// One channel's values, in place.
void apply(const PatchTask& task, std::int64_t channel, float* __restrict x, std::int64_t count) {
  const float scale = task.scale[channel];
  const float shift = task.shift[channel];
  const float inverse = 1.0f / scale;
  if (task.formula == PatchFormula::kLinear) {
    for (std::int64_t i = 0; i < count; ++i) {
      const float scaled = x[i] * scale;
      x[i] = scaled + shift;
    }
  } else if (task.formula == PatchFormula::kDivide) {
    for (std::int64_t i = 0; i < count; ++i) x[i] = divided(x[i] - shift, scale, inverse);
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      x[i] = divided(divided(x[i], 255.0f, 1.0f / 255.0f) - shift, scale, inverse);
    }
  }
}

// Pixels of one row as floats, a channel after the other, `apart` values apart.
void load_pixels(const PatchTask& task, const PatchItem& item, const char* from, std::int64_t count,
                 float* __restrict to, std::int64_t apart) {
  if (task.type == Dtype::kU8 && task.channels == 3 && item.channel_stride == 1 &&
      item.column_stride == 3) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
    for (std::int64_t x = 0; x < count; ++x) {
      to[x] = bytes[3 * x];
      to[x + apart] = bytes[3 * x + 1];
      to[x + 2 * apart] = bytes[3 * x + 2];
    }
    return;
  }
  for (std::int64_t channel = 0; channel < task.channels; ++channel) {
    const char* at = from + channel * item.channel_stride;
    float* values = to + channel * apart;
    if (task.type == Dtype::kU8 && item.column_stride == 1) {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(at);
      for (std::int64_t x = 0; x < count; ++x) values[x] = bytes[x];
    } else if (task.type == Dtype::kU8) {
      for (std::int64_t x = 0; x < count; ++x, at += item.column_stride) {
        values[x] = *reinterpret_cast<const std::uint8_t*>(at);
      }
    } else {
      for (std::int64_t x = 0; x < count; ++x, at += item.column_stride) {
        std::memcpy(values + x, at, sizeof(float));
      }
    }
  }
}

using Bytes16 = std::uint8_t __attribute__((vector_size(16), aligned(1), may_alias));
using Bytes32 = std::uint8_t __attribute__((vector_size(32), aligned(1), may_alias));

// Copies by a first and a last vector that may overlap: the call of memcpy costs more than a row of
// a patch (56 bytes, say). bench/bench_patches.py: 1.9x a loop over 16 bytes.
template <class Vector>
inline void copy_ends(const char* from, std::size_t bytes, char* to) {
  const auto first = *reinterpret_cast<const Vector*>(from);
  const auto last = *reinterpret_cast<const Vector*>(from + bytes - sizeof(Vector));
  *reinterpret_cast<Vector*>(to) = first;
  *reinterpret_cast<Vector*>(to + bytes - sizeof(Vector)) = last;
}

inline void copy_row(const char* from, std::size_t bytes, char* to) {
  if (bytes >= 32 && bytes <= 64) {
    copy_ends<Bytes32>(from, bytes, to);
  } else if (bytes >= 16 && bytes < 32) {
    copy_ends<Bytes16>(from, bytes, to);
  } else {
    std::memcpy(to, from, bytes);
  }
}

// Copies past the caches: the output is larger than they are, and nobody reads it soon.
inline void stream_out(const char* from, std::size_t bytes, char* to) {
#ifdef __SSE2__
#ifdef __AVX__
  using Line = __m256i;
  const auto store = [](char* at, Line value) {
    _mm256_stream_si256(reinterpret_cast<Line*>(at), value);
  };
#else
  using Line = __m128i;
  const auto store = [](char* at, Line value) {
    _mm_stream_si128(reinterpret_cast<Line*>(at), value);
  };
#endif
  constexpr std::size_t kLine = sizeof(Line);
  const std::size_t ahead = (kLine - reinterpret_cast<std::uintptr_t>(to) % kLine) % kLine;
  std::size_t at = ahead < bytes ? ahead : bytes;
  std::memcpy(to, from, at);
  for (; at + kLine <= bytes; at += kLine) {
    Line value;
    std::memcpy(&value, from + at, kLine);
    store(to + at, value);
  }
  std::memcpy(to + at, from + at, bytes - at);
#else
  std::memcpy(to, from, bytes);
#endif
}

template <class Out>
class Strip {
 public:
  Strip(const PatchTask& task, const PatchItem& item, std::int64_t number)
      : task_(task),
        item_(item),
        time_(number / (item.h / task.merge)),
        group_row_(number % (item.h / task.merge)) {}

  // Some groups of patches at a time: their pixels computed row by row, in lanes, then dealt out
  // patch by patch, so that the output is written once from its beginning to its end.
  void by_rows(std::vector<float>& pixels, std::vector<Out>& computed,
               std::vector<Out>& patch) const {
    const std::int64_t m = task_.merge;
    const std::int64_t rows = m * task_.patch_rows;
    const std::int64_t group = m * task_.patch_columns;  // pixels
    std::int64_t groups = kBlockValues / (rows * task_.channels * group);
    groups = groups < 1 ? 1 : groups > item_.w / m ? item_.w / m : groups;
    const std::int64_t width = groups * group;
    pixels.resize(static_cast<std::size_t>(task_.channels * width));
    computed.resize(static_cast<std::size_t>(rows * task_.channels * width));
    patch.resize(static_cast<std::size_t>(patch_values()));
    std::int64_t next = 0;
    for (std::int64_t k = 0; k < task_.frames_per_patch; k = next) {
      const std::int64_t frame = frame_of(k);
      for (next = k + 1; next < task_.frames_per_patch && frame_of(next) == frame; ++next) {
      }
      // Only a patch that holds one frame, once or more, is whole at once.
      const bool whole = k == 0 && next == task_.frames_per_patch;
      for (std::int64_t x = 0; x < item_.w / m; x += groups) {
        const std::int64_t count = x + groups < item_.w / m ? groups : item_.w / m - x;
        for (std::int64_t row = 0; row < rows; ++row) {
          load_pixels(task_, item_, row_of(frame, row) + x * group * item_.column_stride,
                      count * group, pixels.data(), width);
          for (std::int64_t channel = 0; channel < task_.channels; ++channel) {
            float* const values = pixels.data() + channel * width;
            apply(task_, channel, values, count * group);
            Out* const to = computed.data() + (row * task_.channels + channel) * width;
            for (std::int64_t i = 0; i < count * group; ++i) narrow(values[i], to[i]);
          }
        }
        for (std::int64_t p = 0; p < count * m * m; ++p) {
          const std::int64_t place = p / (m * m) * m + p % m;  // columns of patches
          const Out* from = computed.data() + place * task_.patch_columns +
                            p % (m * m) / m * task_.patch_rows * task_.channels * width;
          Out* const to = place_of(x * m, 0, 0) + p * patch_values();
          if (whole && task_.past_caches) {
            deal(from, width, k, next, patch.data());
            stream_out(reinterpret_cast<const char*>(patch.data()),
                       static_cast<std::size_t>(patch_values()) * sizeof(Out),
                       reinterpret_cast<char*>(to));
          } else {
            deal(from, width, k, next, to);
          }
        }
      }
    }
  }

  // Value by value, for bytes: what the table says.
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

  // One patch's frames [k, k_end), all the same, from where its pixels were computed.
  void deal(const Out* from, std::int64_t width, std::int64_t k, std::int64_t k_end,
            Out* to) const {
    const auto bytes = static_cast<std::size_t>(task_.patch_columns) * sizeof(Out);
    for (std::int64_t row = 0; row < task_.patch_rows; ++row) {
      for (std::int64_t channel = 0; channel < task_.channels; ++channel, from += width) {
        Out* const first = to + row * task_.row_step + channel * task_.channel_step;
        Out* at = first + k * task_.frame_step;
        copy_row(reinterpret_cast<const char*>(from), bytes, reinterpret_cast<char*>(at));
        for (std::int64_t again = k + 1; again < k_end; ++again) {
          copy_row(reinterpret_cast<const char*>(at), bytes,
                   reinterpret_cast<char*>(first + again * task_.frame_step));
        }
      }
    }
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
    apply(task_, channel, &value, 1);
    Out to;
    narrow(value, to);
    return to;
  }

  const PatchTask& task_;
  const PatchItem& item_;
  std::int64_t time_, group_row_;
};

template <class Out>
void fill(const PatchTask& task, std::int64_t begin, std::int64_t end) {
  const bool rows = task.formula != PatchFormula::kTable && task.column_step == 1;
  std::vector<float> pixels;
  std::vector<Out> computed, patch;
  std::int64_t number = 0;
  for (std::int64_t strip = begin; strip < end; ++strip) {
    while (number + 1 < task.item_count && task.items[number + 1].first_strip <= strip) ++number;
    const PatchItem& item = task.items[number];
    const Strip<Out> made(task, item, strip - item.first_strip);
    rows ? made.by_rows(pixels, computed, patch) : made.by_values();
  }
#ifdef __SSE2__
  _mm_sfence();
#endif
}

// Only tables make bytes, and a table's entries are copied as they are.
struct Byte {
  std::uint8_t bits;
};
inline void narrow(float value, Byte& to) { to.bits = static_cast<std::uint8_t>(value); }

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
