// The values of a patch, a row of pixels at a time, in lanes. For patches_kernel.cpp only.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/simd.hpp"
#include "stream/patches.hpp"

namespace tokfrag {
namespace TOKFRAG_ISA {

namespace {

// ---- where a register of values comes from

// Numbers side by side.
template <class T>
struct Plain {
  static constexpr bool kBytes = std::is_same_v<T, std::uint8_t>;
  TOKFRAG_INLINE WideFloats load(const char* row, std::int64_t x) const {
    if constexpr (kBytes) {
#if defined(__AVX512F__)
      const auto bytes = load_as<__m128i>(row + x);
      const __m512i words = _mm512_maskz_cvtepu8_epi32(0xffff, bytes);
      return bits_as<WideFloats>(_mm512_maskz_cvtepi32_ps(0xffff, words));
#elif defined(__AVX2__)
      return bits_as<WideFloats>(_mm256_cvtepi32_ps(
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + x)))));
#else
      return __builtin_convertvector(load_as<Vector<std::uint8_t, kWideLanes>>(row + x),
                                     WideFloats);
#endif
    } else {
      return load_as<WideFloats>(row + x * std::int64_t{sizeof(T)});
    }
  }
};

// One channel of pixels of three bytes: four pixels go into each 16 bytes of a register, from where
// one shuffle takes a channel's bytes and makes words of them.
#if defined(__AVX2__)
constexpr bool kHasTriples = true;
struct TriplePattern {
  std::int8_t taken[kVectorBytes] = {};
  std::int32_t quads[kWideLanes] = {};
  constexpr TriplePattern() {
    for (int i = 0; i < kVectorBytes; ++i) {  // a negative index makes a zero
      taken[i] = static_cast<std::int8_t>(i % 4 == 0 ? i % 16 / 4 * 3 : -128);
    }
    for (int i = 0; i < kWideLanes; ++i) quads[i] = i / 4 * 3 + i % 4;
  }
};
constexpr TriplePattern kTriplePattern;

class Triples {
 public:
  static constexpr bool kBytes = true;
  explicit Triples(int channel)
      : taken_(load_as<Taken>(kTriplePattern.taken) + static_cast<std::int8_t>(channel)),
        quads_(load_as<Quads>(kTriplePattern.quads)) {}
  TOKFRAG_INLINE WideFloats load(const char* row, std::int64_t x) const {
#if defined(__AVX512F__)
    const __m512i quads = _mm512_maskz_permutexvar_epi32(0xffff, bits_as<__m512i>(quads_),
                                                         load_as<__m512i>(row + 3 * x));
    const __m512i words = _mm512_maskz_shuffle_epi8(~__mmask64{0}, quads, bits_as<__m512i>(taken_));
    return bits_as<WideFloats>(_mm512_maskz_cvtepi32_ps(0xffff, words));
#else
    const __m256i quads =
        _mm256_permutevar8x32_epi32(load_as<__m256i>(row + 3 * x), bits_as<__m256i>(quads_));
    const __m256i words = _mm256_shuffle_epi8(quads, bits_as<__m256i>(taken_));
    return bits_as<WideFloats>(_mm256_cvtepi32_ps(words));
#endif
  }

 private:
  using Taken = Vector<std::int8_t, kVectorBytes>;
  using Quads = Vector<std::int32_t, kWideLanes>;
  Taken taken_;
  Quads quads_;
};
#else
constexpr bool kHasTriples = false;
class Triples : public Plain<std::uint8_t> {
 public:
  explicit Triples(int) {}
};
#endif

// ---- scales

// Of one channel, or, one after the other, of all values of a row.
struct ScaleNumbers {
  const float *scale, *inverse, *shift;
};

class ChannelScales {
 public:
  ChannelScales() = default;
  explicit ChannelScales(const PatchTask& task) {
    // As many as a row of a patch has values, and a register more.
    const std::int64_t count = task.patch_columns * task.channels + kWideLanes;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t channel = i % task.channels;
      scale_.push_back(task.scale[channel]);
      inverse_.push_back(1.0f / task.scale[channel]);
      shift_.push_back(task.shift[channel]);
    }
  }
  ScaleNumbers all() const { return {scale_.data(), inverse_.data(), shift_.data()}; }
  ScaleNumbers of(std::int64_t channel) const {
    return {scale_.data() + channel, inverse_.data() + channel, shift_.data() + channel};
  }

 private:
  std::vector<float> scale_, inverse_, shift_;
};

// x / by, with inverse = 1 / by. Of bytes, where multiply-add is fused: a product and its
// correction, which is the quotient rounded once (the caller has tried all 256).
template <bool kBytes>
TOKFRAG_INLINE WideFloats divided(WideFloats x, WideFloats by, WideFloats inverse) {
#ifdef __FMA__
  if constexpr (kBytes) {
    const WideFloats near = x * inverse;
#if defined(__AVX512F__)
    const auto rest =
        _mm512_fnmadd_ps(bits_as<__m512>(near), bits_as<__m512>(by), bits_as<__m512>(x));
    return bits_as<WideFloats>(
        _mm512_fmadd_ps(rest, bits_as<__m512>(inverse), bits_as<__m512>(near)));
#else
    const auto rest =
        _mm256_fnmadd_ps(bits_as<__m256>(near), bits_as<__m256>(by), bits_as<__m256>(x));
    return bits_as<WideFloats>(
        _mm256_fmadd_ps(rest, bits_as<__m256>(inverse), bits_as<__m256>(near)));
#endif
  }
#endif
  (void)inverse;
  return x / by;
}

template <PatchFormula kFormula, bool kBytes>
TOKFRAG_INLINE WideFloats computed(WideFloats x, WideFloats scale, WideFloats inverse,
                                   WideFloats shift) {
  if constexpr (kFormula == PatchFormula::kLinear) {
    const WideFloats scaled = x * scale;
    return scaled + shift;
  } else {
    if constexpr (kFormula == PatchFormula::kShares) {
      x = divided<kBytes>(x, splat(255.0f), splat(1.0f / 255.0f));
    }
    return divided<kBytes>(x - shift, scale, inverse);
  }
}

// One value, as the lanes compute it for floats.
inline float scaled(const PatchTask& task, std::int64_t channel, float x) {
  const float scale = task.scale[channel];
  const float shift = task.shift[channel];
  if (task.formula == PatchFormula::kLinear) {
    const float product = x * scale;
    return product + shift;
  }
  if (task.formula == PatchFormula::kShares) x = x / 255.0f;
  return (x - shift) / scale;
}

// ---- rows of a patch

struct PatchRows {
  const char* from;
  std::int64_t pitch;  // bytes from a row to the next
  std::int64_t rows, row_step;
  std::int64_t frames, frame_step;  // how often a row is written
  std::int64_t columns;             // values of a row
};

// The first `count` values of a register.
template <class Out, class Values>
TOKFRAG_INLINE void store_first(Out* to, const Values& values, std::int64_t count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto kept = static_cast<std::uint16_t>((1u << count) - 1);
  if constexpr (sizeof(Out) == 4) {
    _mm512_mask_storeu_ps(to, kept, bits_as<__m512>(values));
  } else {
    _mm256_mask_storeu_epi16(to, kept, bits_as<__m256i>(values));
  }
#else
  std::memcpy(to, &values, static_cast<std::size_t>(count) * sizeof(Out));
#endif
}

// A row that is no whole number of registers ends with one that begins earlier.
template <bool kCyclic, PatchFormula kFormula, class Source, class Out>
void compute_rows_by(const Source& source, const ScaleNumbers& numbers, const PatchRows& job,
                     Out* to) {
  const WideFloats scale = splat(*numbers.scale);
  const WideFloats inverse = splat(*numbers.inverse);
  const WideFloats shift = splat(*numbers.shift);
  const auto values = [&](const char* row, std::int64_t x) {
    const WideFloats loaded = source.load(row, x);
    if constexpr (kCyclic) {
      return packed(
          computed<kFormula, Source::kBytes>(loaded, load_as<WideFloats>(numbers.scale + x),
                                             load_as<WideFloats>(numbers.inverse + x),
                                             load_as<WideFloats>(numbers.shift + x)),
          Out{});
    } else {
      return packed(computed<kFormula, Source::kBytes>(loaded, scale, inverse, shift), Out{});
    }
  };
  const char* row = job.from;
  const std::int64_t last = job.columns - kWideLanes;
  for (std::int64_t y = 0; y < job.rows; ++y, row += job.pitch, to += job.row_step) {
    if (last < 0) {
      const auto made = values(row, 0);
      for (std::int64_t f = 0; f < job.frames; ++f) {
        store_first(to + f * job.frame_step, made, job.columns);
      }
      continue;
    }
    const auto put = [&](std::int64_t x) {
      const auto made = values(row, x);
      store_bytes(to + x, made);
      for (std::int64_t f = 1; f < job.frames; ++f) store_bytes(to + f * job.frame_step + x, made);
    };
    for (std::int64_t x = 0; x < last; x += kWideLanes) put(x);
    put(last);
  }
}

template <bool kCyclic, class Source, class Out>
void compute_rows(const Source& source, PatchFormula formula, const ScaleNumbers& numbers,
                  const PatchRows& job, Out* to) {
  switch (formula) {
    case PatchFormula::kLinear:
      return compute_rows_by<kCyclic, PatchFormula::kLinear>(source, numbers, job, to);
    case PatchFormula::kDivide:
      return compute_rows_by<kCyclic, PatchFormula::kDivide>(source, numbers, job, to);
    default:
      return compute_rows_by<kCyclic, PatchFormula::kShares>(source, numbers, job, to);
  }
}

}  // namespace
}  // namespace TOKFRAG_ISA
}  // namespace tokfrag
