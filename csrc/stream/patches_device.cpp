#include "stream/patches_device.hpp"

#include <algorithm>
#include <array>

namespace tokfrag {

namespace {

std::int64_t bytes_of(Dtype type) { return type == Dtype::kF32 ? 4 : type == Dtype::kU8 ? 1 : 2; }

// Whether division by multiplication gives every byte of every channel what a division gives.
bool bytes_divide_exactly(const DevicePatchPlan& plan, std::int64_t channels) {
  for (std::uint32_t channel = 0; channel < static_cast<std::uint32_t>(channels); ++channel) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto x = static_cast<float>(byte);
      if (patch_value(plan, channel, true, x) != patch_value(plan, channel, false, x)) return false;
    }
  }
  return true;
}

// What all launches of a task have alike.
DevicePatchPlan common_plan(const PatchTask& task, int values) {
  DevicePatchPlan plan{};
  const std::array<std::int64_t, kPatchAxes> steps = {task.frame_step, task.row_step,
                                                      task.column_step, task.channel_step};
  const std::array<std::int64_t, kPatchAxes> sizes = {task.frames_per_patch, task.patch_rows,
                                                      task.patch_columns, task.channels};
  std::array<int, kPatchAxes> order = {0, 1, 2, 3};
  // Axes of one place may have any step: they lie outermost, where nothing is divided by them.
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    const auto at = [&](int axis) {
      const auto i = static_cast<std::size_t>(axis);
      return sizes[i] == 1 ? INT64_MAX : steps[i];
    };
    return at(a) < at(b);
  });
  std::int64_t patch = 1;
  for (int i = 0; i < kPatchAxes; ++i) {
    const auto axis = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
    plan.axes[i] = static_cast<int>(axis);
    set_divisor(plan.sizes[i], sizes[axis]);
    patch *= sizes[axis];
  }
  for (std::size_t i = 0; i < 3; ++i) plan.extent[i] = static_cast<std::uint32_t>(sizes[i]);
  set_divisor(plan.per_patch, patch / values);
  set_divisor(plan.merge, task.merge);
  plan.formula = task.formula;
  for (std::int64_t channel = 0; channel < task.channels; ++channel) {
    plan.scale[channel] = task.scale[channel];
    plan.shift[channel] = task.shift[channel];
    plan.inverse[channel] = 1.0f / task.scale[channel];
  }
  plan.fused = task.type == Dtype::kU8 && task.formula != PatchFormula::kLinear &&
               bytes_divide_exactly(plan, task.channels);
  plan.out = static_cast<char*>(task.out);
  return plan;
}

}  // namespace

int patch_values(const PatchTask& task) {
  const std::int64_t patch =
      task.frames_per_patch * task.patch_rows * task.patch_columns * task.channels;
  const std::int64_t item = bytes_of(task.out_type);
  for (const int values : {8, 4}) {
    UnitChooser to;
    to.divide(task.out);
    if (values * item <= kMaxUnit && patch % values == 0 && to.unit() >= values * item) {
      return values;
    }
  }
  return 1;
}

std::vector<DevicePatchPlan> make_patch_plans(const PatchTask& task, int values) {
  std::vector<DevicePatchPlan> plans;
  const DevicePatchPlan common = common_plan(task, values);
  const std::int64_t per_patch = common.per_patch.value;
  const std::int64_t most = kNarrowLimit - (std::int64_t{kPatchUnits} << 16);
  const std::int64_t unit_bytes = values * bytes_of(task.out_type);
  std::int64_t done = 0;   // units of the launches before
  std::int64_t units = 0;  // of this one
  for (std::int64_t i = 0; i < task.item_count; ++i) {
    const PatchItem& from = task.items[i];
    const std::int64_t own = from.t * from.h * from.w * per_patch;
    if (own == 0) continue;
    if (own > most) throw CudaError("patchify: an image has more values than 32 bits count");
    if (plans.empty() || plans.back().items == kLaunchItems || units + own > most) {
      done += units;
      units = 0;
      plans.push_back(common);
      plans.back().out += done * unit_bytes;
    }
    DevicePatchPlan& plan = plans.back();
    DevicePatchItem& to = plan.item[plan.items++];
    to.data = static_cast<const char*>(from.data);
    to.strides[0] = from.frame_stride;
    to.strides[1] = from.row_stride;
    to.strides[2] = from.column_stride;
    to.strides[3] = from.channel_stride;
    to.first_unit = static_cast<std::uint32_t>(units);
    to.last_frame = static_cast<std::uint32_t>(from.frames - 1);
    set_divisor(to.across, from.w / task.merge);
    set_divisor(to.down, from.h / task.merge);
    units += own;
    plan.units = static_cast<std::uint32_t>(units);
  }
  return plans;
}

}  // namespace tokfrag
