// tokfrag._cuda: the CUDA kernels, called with addresses, shapes and strides. Needs no torch, and
// touches no driver before the first call.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "bindings/cuda_bindings.hpp"
#include "bindings/fragment_plans.hpp"
#include "fragments/cuda_kernels.hpp"

namespace py = pybind11;

// What the device code was compiled for, as CMake takes it, with commas.
#ifndef TOKFRAG_CUDA_ARCHITECTURES
#define TOKFRAG_CUDA_ARCHITECTURES ""
#endif

namespace tokfrag {

namespace {

using Address = std::uintptr_t;

const void* input(Address address) { return reinterpret_cast<const void*>(address); }
void* output(Address address) { return reinterpret_cast<void*>(address); }
cudaStream_t stream_of(Address handle) { return reinterpret_cast<cudaStream_t>(handle); }

void extract_at(const GridPlan& plan, Address address, const py::tuple& shape,
                const py::tuple& strides, std::int64_t item, bool channels_last,
                const py::bytes& pad, Address out, int device, Address stream) {
  const Extents sizes = extents(shape);
  const std::int64_t channels = sizes[channels_last ? shape.size() - 1 : 1];
  const GridLayout layout = make_layout(
      plan.grid(), channels_last, item, sizes[0], channels, extents(strides, item).data(),
      plan.fragment_strides(sizes[0], channels, channels_last, item).data(), nullptr);
  const char* pad_value = bytes_of(pad);
  const ReleaseGil nogil;
  const OnDevice here(device);
  extract_cuda(layout, input(address), output(out), pad_value, stream_of(stream));
}

// `scale` and `shift`: none, one number, or one a channel.
void extract_changed_at(const GridPlan& plan, Address address, const py::tuple& shape,
                        const py::tuple& strides, int dtype, std::int64_t item, int out_dtype,
                        bool channels_last, const py::bytes& pad, const std::vector<float>& scale,
                        const std::vector<float>& shift, Address out, int device, Address stream) {
  const Extents sizes = extents(shape);
  const std::int64_t channels = sizes[channels_last ? shape.size() - 1 : 1];
  const GridLayout layout = make_layout(
      plan.grid(), channels_last, item, sizes[0], channels, extents(strides, item).data(),
      plan.fragment_strides(sizes[0], channels, channels_last, item).data(), nullptr);
  ChannelChange change{};
  change.scales = !scale.empty();
  change.shifts = !shift.empty();
  change.channels = static_cast<std::uint32_t>(std::max(scale.size(), shift.size()));
  if (change.channels > kMostChangedChannels) {
    throw py::value_error("scale, shift: take one number a channel, of few channels");
  }
  for (std::size_t i = 0; i < change.channels; ++i) {
    if (change.scales) change.scale[i] = scale[scale.size() == 1 ? 0 : i];
    if (change.shifts) change.shift[i] = shift[shift.size() == 1 ? 0 : i];
  }
  std::int64_t below = 1;
  for (int axis = 0; !channels_last && axis < plan.rank(); ++axis) {
    below *= plan.grid().axes[axis].size;
  }
  const char* pad_value = bytes_of(pad);
  const ReleaseGil nogil;
  const OnDevice here(device);
  extract_changed_cuda({layout, change, channels, below, static_cast<Dtype>(dtype),
                        static_cast<Dtype>(out_dtype), input(address), output(out), pad_value,
                        stream_of(stream)});
}

// A merge's weights on a grid; the twin of _core.fragments.WindowPlan. Its tables are numbers that
// the caller copies to the device, as float32 for half and bfloat16, else as float64.
class WindowPlan : public WindowWeights {
 public:
  WindowPlan(const GridPlan& plan, int reduce, const py::list& vectors, const py::object& whole,
             bool per_fragment)
      : WindowWeights(plan, reduce, vectors, whole, per_fragment, true) {
    append_tables();
  }
  WindowPlan(const WindowPlan& all, const Extents& first, const Extents& counts,
             const Extents& begin)
      : WindowWeights(all, first, counts, begin) {
    append_tables();
  }

  py::array_t<double> tables() const {
    return py::array_t<double>(static_cast<py::ssize_t>(tables_.size()), tables_.data());
  }

  // The tables once more, each number as a Pair in the place of a double.
  py::array_t<double> pair_tables() const {
    std::vector<double> pairs(tables_.size());
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      const Pair pair = pair_of(tables_[i]);
      std::memcpy(&pairs[i], &pair, sizeof pair);
    }
    return py::array_t<double>(static_cast<py::ssize_t>(pairs.size()), pairs.data());
  }

  // Whether Pair holds any product of a weight an axis as precisely as others.
  bool pairable() const {
    double least = 1;
    double greatest = 1;
    for (int axis = 0; axis < plan_.rank(); ++axis) {
      const auto& own = window_.axes[static_cast<std::size_t>(axis)];
      for (const std::vector<double>* table : {&own.weights, &own.inverse}) {
        double low = 1;
        double high = 1;
        for (const double weight : *table) {
          const double size = std::abs(weight);
          if (size == 0) continue;
          low = std::min(low, size);
          high = std::max(high, size);
        }
        least *= low;
        greatest *= high;
      }
    }
    return window_.whole.empty() && least > kLeastPairedWeight && greatest < 1 / kLeastPairedWeight;
  }

  void merge_at(Address address, const py::tuple& shape, const py::tuple& strides, int dtype,
                std::int64_t item, bool channels_last, const py::bytes& fill, Address out,
                Address tables, bool pairs, int device, Address stream) const {
    const auto type = static_cast<Dtype>(dtype);
    DeviceWindow window = window_at(tables, type);
    window.pairs = pairs ? static_cast<std::int64_t>(tables_.size() * sizeof(double)) : 0;
    const Extents sizes = extents(shape);
    const std::int64_t channels = sizes[channels_last ? shape.size() - 1 : 2];
    const Extents target = plan_.data_strides(sizes[0], channels, channels_last, item);
    const GridLayout layout = make_layout(plan_.grid(), channels_last, item, sizes[0], channels,
                                          target.data(), extents(strides, item).data(), keep_axis_);
    const char* fill_value = bytes_of(fill);
    const ReleaseGil nogil;
    const OnDevice here(device);
    merge_cuda(layout, plan_.grid(), window, type, input(address), output(out), fill_value,
               stream_of(stream));
  }

  // `norms`: of a mean under an array of weights, their sum at each position; else 0.
  void extract_at(Address address, const py::tuple& shape, const py::tuple& strides, int dtype,
                  std::int64_t item, bool channels_last, Address norms, Address out, Address tables,
                  int device, Address stream) const {
    const auto type = static_cast<Dtype>(dtype);
    const DeviceWindow window = window_at(tables, type);
    const Extents sizes = extents(shape);
    const std::int64_t channels = sizes[channels_last ? shape.size() - 1 : 1];
    const Extents target = plan_.fragment_strides(sizes[0], channels, channels_last, item);
    const GridLayout layout = make_layout(plan_.grid(), channels_last, item, sizes[0], channels,
                                          extents(strides, item).data(), target.data(), keep_axis_);
    const ReleaseGil nogil;
    const OnDevice here(device);
    weigh_cuda(layout, plan_.grid(), window, type, input(address), input(norms), output(out),
               stream_of(stream));
  }

 private:
  // The weights for numbers of a type, whose tables lie at a device address.
  DeviceWindow window_at(Address tables, Dtype type) const {
    const std::int64_t number = type == Dtype::kF16 || type == Dtype::kBF16 ? 4 : 8;
    const auto table = [&](std::int64_t begin) {
      return begin < 0 ? nullptr : input(tables + static_cast<Address>(begin * number));
    };
    DeviceWindow window{};
    window.reduce = window_.reduce;
    window.uniform = window_.uniform;
    window.per_fragment = window_.per_fragment;
    window.constant = window_.constant;
    window.whole = table(whole_);
    for (int axis = 0; axis < plan_.rank(); ++axis) {
      window.weights[axis] = table(weights_[axis]);
      window.inverse[axis] = table(inverse_[axis]);
      window.sums[axis] = table(sums_[axis]);
      window.left_out[axis] = left_out_[axis];
    }
    return window;
  }

  void append_tables() {
    for (std::size_t i = 0; i < static_cast<std::size_t>(plan_.rank()); ++i) {
      append(window_.axes[i].weights, weights_[i]);
      append(window_.axes[i].inverse, inverse_[i]);
      append(window_.axes[i].sums, sums_[i]);
    }
    append({window_.whole.begin(), window_.whole.end()}, whole_);
    if (tables_.empty()) tables_.push_back(0);  // pairs lie behind something
  }

  // Adds a table, and says where it begins, aligned for wide loads; -1 if it is empty.
  void append(const std::vector<double>& values, std::int64_t& begin) {
    begin = -1;
    if (values.empty()) return;
    while (tables_.size() % kAlignedNumbers != 0) tables_.push_back(0);
    begin = static_cast<std::int64_t>(tables_.size());
    tables_.insert(tables_.end(), values.begin(), values.end());
  }

  static constexpr std::size_t kAlignedNumbers = 4;  // 16 bytes of floats
  static constexpr double kLeastPairedWeight = 0x1p-40;

  std::vector<double> tables_;
  std::int64_t weights_[kMaxAxes] = {};
  std::int64_t inverse_[kMaxAxes] = {};
  std::int64_t sums_[kMaxAxes] = {};
  std::int64_t whole_ = -1;
};

// One launch for the moments and up to kLagsAtOnce lags, more for the lags beyond.
void features_at(const GridPlan& plan, Address address, const py::tuple& shape,
                 const py::tuple& strides, int dtype, std::int64_t item, int time_axis,
                 double pad_value, const std::vector<int>& columns,
                 const std::vector<std::int64_t>& lags, Address out, int device, Address stream) {
  const Extents sizes = extents(shape);
  DeviceFeaturePlan task = make_feature_plan(plan.grid(), time_axis, pad_value, sizes[0], sizes[1],
                                             extents(strides, item).data(), input(address),
                                             output(out), static_cast<int>(columns.size()));
  const std::vector<FeatureColumns> launches = split_columns(columns, lags);
  const ReleaseGil nogil;
  const OnDevice here(device);
  for (const FeatureColumns& launch : launches) {
    task.columns = launch;
    features_cuda(task, static_cast<Dtype>(dtype), stream_of(stream));
  }
}

const std::int64_t* indices(Address address) {
  return reinterpret_cast<const std::int64_t*>(address);
}

void reduce(int dtype, Address x, std::int64_t x_batch_stride, std::int64_t x_row_stride,
            Address offsets, Address order, Address weight, Address y, Address weight_sum,
            Address partial, std::int64_t batch, std::int64_t rows, std::int64_t segments,
            std::int64_t columns, bool mean, int device, Address stream) {
  const SegmentReduceTask task{input(x),
                               x_batch_stride,
                               x_row_stride,
                               indices(offsets),
                               indices(order),
                               input(weight),
                               output(y),
                               output(weight_sum),
                               output(partial),
                               batch,
                               rows,
                               segments,
                               columns,
                               mean};
  const ReleaseGil nogil;
  const OnDevice here(device);
  segment_reduce_cuda(task, static_cast<Dtype>(dtype), stream_of(stream));
}

void gather(int dtype, Address y, std::int64_t y_batch_stride, std::int64_t y_row_stride,
            Address index, Address scale, Address x, std::int64_t batch, std::int64_t rows,
            std::int64_t segments, std::int64_t columns, int device, Address stream) {
  const SegmentGatherTask task{input(y),     y_batch_stride, y_row_stride, indices(index),
                               input(scale), output(x),      batch,        rows,
                               segments,     columns};
  const ReleaseGil nogil;
  const OnDevice here(device);
  segment_gather_cuda(task, static_cast<Dtype>(dtype), stream_of(stream));
}

}  // namespace

}  // namespace tokfrag

PYBIND11_MODULE(_cuda, module) {
  using namespace tokfrag;
  py::register_exception<CudaError>(module, "CudaError", PyExc_RuntimeError);

  py::class_<GridPlan>(module, "GridPlan", py::module_local(),
                       "A grid's arithmetic, ready for the kernels.")
      .def(py::init<const std::vector<std::int64_t>&, const std::vector<std::int64_t>&,
                    const std::vector<std::int64_t>&, const std::vector<std::int64_t>&, int, int>(),
           py::arg("shape"), py::arg("size"), py::arg("stride"), py::arg("dilation"),
           py::arg("edge"), py::arg("pad_mode"))
      .def("extract_at", &extract_at, py::arg("address"), py::arg("shape"), py::arg("strides"),
           py::arg("item"), py::arg("channels_last"), py::arg("pad"), py::arg("out"),
           py::arg("device"), py::arg("stream"),
           "Cuts the array at a device address; strides in items.")
      .def("extract_changed_at", &extract_changed_at, py::arg("address"), py::arg("shape"),
           py::arg("strides"), py::arg("dtype"), py::arg("item"), py::arg("out_dtype"),
           py::arg("channels_last"), py::arg("pad"), py::arg("scale"), py::arg("shift"),
           py::arg("out"), py::arg("device"), py::arg("stream"),
           "Cuts an array into fragments of another type, scaled and shifted a channel.")
      .def("features_at", &features_at, py::arg("address"), py::arg("shape"), py::arg("strides"),
           py::arg("dtype"), py::arg("item"), py::arg("time_axis"), py::arg("pad_value"),
           py::arg("columns"), py::arg("lags"), py::arg("out"), py::arg("device"),
           py::arg("stream"), "Statistics of the fragments of the array at a device address.");

  py::class_<WindowPlan>(module, "WindowPlan", py::module_local(), "A merge's weights on a grid.")
      .def(py::init<const GridPlan&, int, const py::list&, const py::object&, bool>(),
           py::arg("plan"), py::arg("reduce"), py::arg("vectors"), py::arg("whole"),
           py::arg("per_fragment"))
      .def("part", &part_of<WindowPlan>, py::arg("first"), py::arg("counts"), py::arg("begin"),
           "The weights of some windows, for merging the positions that no others hold.")
      .def_property_readonly("tables", &WindowPlan::tables,
                             "What merge_at wants on the device, in the accumulator's type.")
      .def_property_readonly("pair_tables", &WindowPlan::pair_tables,
                             "What it wants behind those to add float32 without doubles.")
      .def_property_readonly("pairable", &WindowPlan::pairable, "Whether the weights allow that.")
      .def("merge_at", &WindowPlan::merge_at, py::arg("address"), py::arg("shape"),
           py::arg("strides"), py::arg("dtype"), py::arg("item"), py::arg("channels_last"),
           py::arg("fill"), py::arg("out"), py::arg("tables"), py::arg("pairs"), py::arg("device"),
           py::arg("stream"), "Merges the fragments at a device address; strides in items.")
      .def("extract_at", &WindowPlan::extract_at, py::arg("address"), py::arg("shape"),
           py::arg("strides"), py::arg("dtype"), py::arg("item"), py::arg("channels_last"),
           py::arg("norms"), py::arg("out"), py::arg("tables"), py::arg("device"),
           py::arg("stream"), "The adjoint of merge_at: fragments times the weights.");

  module.def("check_device", &check_cuda_device, py::arg("device"), py::call_guard<ReleaseGil>(),
             "Raises CudaError unless these kernels run on the device.");
  module.def("adds_doubles_slowly", &adds_doubles_slowly, py::arg("device"),
             py::call_guard<ReleaseGil>(),
             "Whether the device adds doubles at a small part of the rate of floats.");
  module.def("current_device", &current_cuda_device,
             "The device that this thread's calls go to; starts the driver.");
  module.def("driver_version", &cuda_driver_version,
             "The newest CUDA the driver knows (12040: 12.4); 0 without a driver.");
  module.attr("toolkit_version") = cuda_toolkit_version();
  module.attr("architectures") = TOKFRAG_CUDA_ARCHITECTURES;
  module.def(
      "segment_sums",
      [](std::int64_t rows, std::int64_t longest) {
        return longest > kLongSegment ? segment_slots(rows) * kShareRuns : std::int64_t{0};
      },
      py::arg("rows"), py::arg("longest"),
      "How many rows of sums `reduce` wants in `partial` for so many rows; 0: no `partial`.");
  module.def("reduce", &reduce, py::arg("dtype"), py::arg("x"), py::arg("x_batch_stride"),
             py::arg("x_row_stride"), py::arg("offsets"), py::arg("order"), py::arg("weight"),
             py::arg("y"), py::arg("weight_sum"), py::arg("partial"), py::arg("batch"),
             py::arg("rows"), py::arg("segments"), py::arg("columns"), py::arg("mean"),
             py::arg("device"), py::arg("stream"),
             "Sums of the rows of each segment; 0 stands for no array.");
  module.def("gather", &gather, py::arg("dtype"), py::arg("y"), py::arg("y_batch_stride"),
             py::arg("y_row_stride"), py::arg("index"), py::arg("scale"), py::arg("x"),
             py::arg("batch"), py::arg("rows"), py::arg("segments"), py::arg("columns"),
             py::arg("device"), py::arg("stream"), "Every row's segment; 0 stands for no array.");
  module.attr("MOST_CHANGED_CHANNELS") = kMostChangedChannels;
  bind_cuda_patches(module);
  bind_cuda_sparse(module);
}
