#include <algorithm>
#include <string>
#include <utility>

#include "bindings/bindings.hpp"
#include "core/buffer_pool.hpp"
#include "core/checked.hpp"
#include "core/interrupt.hpp"
#include "fragments/segments/segment_merge.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

const void* input(std::uintptr_t address) { return reinterpret_cast<const void*>(address); }
void* output(std::uintptr_t address) { return reinterpret_cast<void*>(address); }
const std::int64_t* indices(std::uintptr_t address) {
  return reinterpret_cast<const std::int64_t*>(address);
}

// An index in memory of our own, checked: the kernels write where it says, and another thread may
// change the caller's between a check and its use. To be made and dropped without the GIL.
class CheckedIndex {
 public:
  CheckedIndex(const std::int64_t* index, std::int64_t count, std::int64_t segments)
      : copy_(take_buffer(checked_multiply(count, sizeof(std::int64_t)))) {
    constexpr std::int64_t kBlock = 4096;
    auto* const own = copy_.as<std::int64_t>();
    for (std::int64_t at = 0; at < count; at += kBlock) {
      const std::int64_t some = std::min(kBlock, count - at);
      bool outside = false;
      for (std::int64_t i = at; i < at + some; ++i) {
        own[i] = index[i];
        outside |= static_cast<std::uint64_t>(own[i]) >= static_cast<std::uint64_t>(segments);
      }
      poll_interrupt();
      if (!outside) continue;
      const std::int64_t bad = find_bad_index(own + at, some, segments);
      throw py::index_error("index: got " + std::to_string(own[at + bad]) + " at position " +
                            std::to_string(at + bad) + ", takes values in [0, " +
                            std::to_string(segments) + ")");
    }
  }
  ~CheckedIndex() { give_buffer(std::move(copy_)); }
  CheckedIndex(const CheckedIndex&) = delete;
  CheckedIndex& operator=(const CheckedIndex&) = delete;

  const std::int64_t* data() const { return copy_.as<std::int64_t>(); }

 private:
  HugeBuffer copy_;
};

void reduce(int type, std::uintptr_t x, std::int64_t x_batch_stride, std::int64_t x_row_stride,
            std::uintptr_t index, std::uintptr_t weight, std::uintptr_t y,
            std::uintptr_t weight_sum, std::int64_t batch, std::int64_t rows, std::int64_t segments,
            std::int64_t columns, bool mean, int threads) {
  const ReleaseGil nogil;
  const CheckedIndex checked(indices(index), checked_multiply(batch, rows), segments);
  const SegmentReduce task = {static_cast<Dtype>(type),
                              input(x),
                              x_batch_stride,
                              x_row_stride,
                              checked.data(),
                              input(weight),
                              output(y),
                              output(weight_sum),
                              batch,
                              rows,
                              segments,
                              columns,
                              mean};
  segment_reduce(task, threads);
}

void gather(int type, std::uintptr_t y, std::int64_t y_batch_stride, std::int64_t y_row_stride,
            std::uintptr_t index, std::uintptr_t scale, std::uintptr_t x, std::int64_t batch,
            std::int64_t rows, std::int64_t segments, std::int64_t columns, int threads) {
  const ReleaseGil nogil;
  const CheckedIndex checked(indices(index), checked_multiply(batch, rows), segments);
  const SegmentGather task = {static_cast<Dtype>(type),
                              input(y),
                              y_batch_stride,
                              y_row_stride,
                              checked.data(),
                              input(scale),
                              output(x),
                              batch,
                              rows,
                              segments,
                              columns};
  segment_gather(task, threads);
}

}  // namespace

void bind_segments(py::module_& module) {
  py::module_ segments = module.def_submodule("segments");
  segments.def("reduce", &reduce, py::arg("type"), py::arg("x"), py::arg("x_batch_stride"),
               py::arg("x_row_stride"), py::arg("index"), py::arg("weight"), py::arg("y"),
               py::arg("weight_sum"), py::arg("batch"), py::arg("rows"), py::arg("segments"),
               py::arg("columns"), py::arg("mean"), py::arg("threads"));
  segments.def("gather", &gather, py::arg("type"), py::arg("y"), py::arg("y_batch_stride"),
               py::arg("y_row_stride"), py::arg("index"), py::arg("scale"), py::arg("x"),
               py::arg("batch"), py::arg("rows"), py::arg("segments"), py::arg("columns"),
               py::arg("threads"));
}

}  // namespace tokfrag
