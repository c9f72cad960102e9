// tokfrag._cuda.patchify: images on a device to patches there. Python has validated them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <vector>

#include "bindings/cuda_bindings.hpp"
#include "core/cuda_device.hpp"
#include "stream/cuda_kernels.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// data, strides of frame, row, column and channel, frames, t, h, w
using Item = std::array<std::int64_t, 9>;

void bound_patchify(int type, int out_type, const std::vector<Item>& items,
                    const std::array<std::int64_t, 5>& sizes,
                    const std::array<std::int64_t, 4>& steps, int formula,
                    const std::vector<float>& scale, const std::vector<float>& shift,
                    std::uintptr_t out, int device, std::uintptr_t stream) {
  const auto channels = static_cast<std::size_t>(sizes[3]);
  if (channels > kMostPatchChannels || scale.size() != channels || shift.size() != channels) {
    throw py::value_error("scale, shift: take one number a channel, of few channels");
  }
  std::vector<PatchItem> made;
  for (const Item& item : items) {
    made.push_back({reinterpret_cast<const void*>(item[0]), item[1], item[2], item[3], item[4],
                    item[5], item[6], item[7], item[8], 0, 0});
  }
  PatchTask task{};
  task.items = made.data();
  task.item_count = static_cast<std::int64_t>(made.size());
  task.frames_per_patch = sizes[0];
  task.patch_rows = sizes[1];
  task.patch_columns = sizes[2];
  task.channels = sizes[3];
  task.merge = sizes[4];
  task.frame_step = steps[0];
  task.row_step = steps[1];
  task.column_step = steps[2];
  task.channel_step = steps[3];
  task.type = static_cast<Dtype>(type);
  task.out_type = static_cast<Dtype>(out_type);
  task.formula = static_cast<PatchFormula>(formula);
  task.scale = scale.data();
  task.shift = shift.data();
  task.out = reinterpret_cast<void*>(out);
  const ReleaseGil nogil;
  const OnDevice here(device);
  patchify_cuda(task, reinterpret_cast<cudaStream_t>(stream));
}

}  // namespace

void bind_cuda_patches(py::module_& parent) {
  parent.attr("MOST_PATCH_CHANNELS") = kMostPatchChannels;
  parent.def("patchify", &bound_patchify, py::arg("type"), py::arg("out_type"), py::arg("items"),
             py::arg("sizes"), py::arg("steps"), py::arg("formula"), py::arg("scale"),
             py::arg("shift"), py::arg("out"), py::arg("device"), py::arg("stream"),
             "Images to patches in a model's order, scaled and cast.");
}

}  // namespace tokfrag
