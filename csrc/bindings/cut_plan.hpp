// A grid as _core.fragments.GridPlan holds it: with what its last small call has found out.
#pragma once

#include <cstdint>
#include <memory>

#include "bindings/fragment_plans.hpp"
#include "bindings/release_gil.hpp"
#include "fragments/extract/extract.hpp"
#include "fragments/extract/small_extract.hpp"

namespace tokfrag {

// The last call, and what a second one like it makes of it if it is small: `Small`, which runs in
// no longer than it takes to let the GIL go. Used under the GIL alone.
template <class Small>
class KeptCall {
 public:
  struct Call {
    Extents shape;
    Extents strides;
    std::int64_t type;
    bool channels_last;

    bool operator==(const Call& other) const {
      return shape == other.shape && strides == other.strides && type == other.type &&
             channels_last == other.channels_last;
    }
  };

  // What `make` made for a call like the last one; null for another call, and where it made none.
  template <class Make>
  const Small* again(const Call& call, const Make& make) {
    if (!(call == call_)) {
      call_ = call;
      small_.reset();
      asked_ = false;
      return nullptr;
    }
    if (!asked_) {
      small_ = make();
      asked_ = true;
    }
    return small_.get();
  }

 private:
  Call call_{};
  bool asked_ = false;
  std::unique_ptr<const Small> small_;
};

// A grid that arrays are cut on.
class CutPlan : public GridPlan {
 public:
  using GridPlan::GridPlan;

  void run(const Extents& shape, const Extents& strides, std::int64_t item, const void* data,
           bool channels_last, const char* pad, void* out, int threads) const {
    const auto make = [&] {
      return SmallExtract::make(grid(), channels_last, item, shape.data(), strides.data());
    };
    if (const auto* small = kept_.again({shape, strides, item, channels_last}, make)) {
      small->run(data, out, pad);
      return;
    }
    const std::int64_t batch = shape[0];
    const std::int64_t channels = shape[channels_last ? static_cast<std::size_t>(rank()) + 1 : 1];
    const Extents target = fragment_strides(batch, channels, channels_last, item);
    const GridLayout layout = make_layout(grid(), channels_last, item, batch, channels,
                                          strides.data(), target.data(), nullptr);
    const ReleaseGil nogil;
    extract(layout, data, out, pad, threads);
  }

 private:
  mutable KeptCall<SmallExtract> kept_;
};

}  // namespace tokfrag
