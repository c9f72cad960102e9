#include <string>

#include "bindings/bindings.hpp"
#include "fragments/segments/segment_merge.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

const void* input(std::uintptr_t address) { return reinterpret_cast<const void*>(address); }
void* output(std::uintptr_t address) { return reinterpret_cast<void*>(address); }
const std::int64_t* indices(std::uintptr_t address) {
  return reinterpret_cast<const std::int64_t*>(address);
}

// Call without the GIL.
void check_index(const std::int64_t* index, std::int64_t count, std::int64_t segments) {
  const std::int64_t bad = find_bad_index(index, count, segments);
  if (bad >= 0) {
    throw py::index_error("index: got " + std::to_string(index[bad]) + " at position " +
                          std::to_string(bad) + ", takes values in [0, " +
                          std::to_string(segments) + ")");
  }
}

void reduce(int type, std::uintptr_t x, std::int64_t x_batch_stride, std::int64_t x_row_stride,
            std::uintptr_t index, std::uintptr_t weight, std::uintptr_t y,
            std::uintptr_t weight_sum, std::int64_t batch, std::int64_t rows, std::int64_t segments,
            std::int64_t columns, bool mean, int threads) {
  const SegmentReduce task = {static_cast<Dtype>(type),
                              input(x),
                              x_batch_stride,
                              x_row_stride,
                              indices(index),
                              input(weight),
                              output(y),
                              output(weight_sum),
                              batch,
                              rows,
                              segments,
                              columns,
                              mean};
  const py::gil_scoped_release nogil;
  check_index(task.index, batch * rows, segments);
  segment_reduce(task, threads);
}

void gather(int type, std::uintptr_t y, std::int64_t y_batch_stride, std::int64_t y_row_stride,
            std::uintptr_t index, std::uintptr_t scale, std::uintptr_t x, std::int64_t batch,
            std::int64_t rows, std::int64_t segments, std::int64_t columns, int threads) {
  const SegmentGather task = {static_cast<Dtype>(type),
                              input(y),
                              y_batch_stride,
                              y_row_stride,
                              indices(index),
                              input(scale),
                              output(x),
                              batch,
                              rows,
                              segments,
                              columns};
  const py::gil_scoped_release nogil;
  check_index(task.index, batch * rows, segments);
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
