// tokfrag._cuda.sparse: the sparse products, called with addresses. Python has validated them.
#include <pybind11/pybind11.h>

#include <cstdint>

#include "bindings/cuda_bindings.hpp"
#include "core/cuda_device.hpp"
#include "sparse/cuda_kernels.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using Address = std::uintptr_t;

template <class T = void>
const T* in(Address address) {
  return reinterpret_cast<const T*>(address);
}

sparse::DeviceMatrix matrix_at(std::int64_t rows, std::int64_t columns, Address local,
                               Address spans, Address starts, Address origins, Address sources) {
  return {{rows, columns},          in<std::uint8_t>(local),   in<std::uint32_t>(spans),
          in<std::int64_t>(starts), in<std::int64_t>(origins), in<std::uint16_t>(sources)};
}

void multiply(int element, std::int64_t rows, std::int64_t columns, Address local, Address spans,
              Address starts, Address origins, Address sources, Address x, std::int64_t batch,
              Address values, Address bias, Address y, int device, Address stream) {
  const sparse::MultiplyTask task{matrix_at(rows, columns, local, spans, starts, origins, sources),
                                  in(x),
                                  in(values),
                                  in(bias),
                                  reinterpret_cast<void*>(y),
                                  batch};
  const OnDevice here(device);
  sparse::multiply_cuda(task, static_cast<sparse::Element>(element),
                        reinterpret_cast<cudaStream_t>(stream));
}

void sample(int element, std::int64_t rows, std::int64_t columns, Address local, Address starts,
            Address entry_rows, std::int64_t fullest, Address grad, std::int64_t batch, Address x,
            Address out, int device, Address stream) {
  const sparse::SampleTask task{matrix_at(rows, columns, local, 0, starts, starts, 0),
                                in<std::uint8_t>(entry_rows),
                                in(grad),
                                in(x),
                                reinterpret_cast<void*>(out),
                                batch,
                                (fullest + sparse::kPassEntries - 1) / sparse::kPassEntries};
  const OnDevice here(device);
  sparse::sample_cuda(task, static_cast<sparse::Element>(element),
                      reinterpret_cast<cudaStream_t>(stream));
}

}  // namespace

void bind_cuda_sparse(py::module_& parent) {
  using release = py::call_guard<ReleaseGil>;
  py::module_ module = parent.def_submodule("sparse", "Sparse products.");
  module.def("multiply", &multiply, py::arg("element"), py::arg("rows"), py::arg("columns"),
             py::arg("local"), py::arg("spans"), py::arg("starts"), py::arg("origins"),
             py::arg("sources"), py::arg("x"), py::arg("batch"), py::arg("values"), py::arg("bias"),
             py::arg("y"), py::arg("device"), py::arg("stream"), release(),
             "y = x W^T + bias; 0 stands for no array.");
  module.def("sample", &sample, py::arg("element"), py::arg("rows"), py::arg("columns"),
             py::arg("local"), py::arg("starts"), py::arg("entry_rows"), py::arg("fullest"),
             py::arg("grad"), py::arg("batch"), py::arg("x"), py::arg("out"), py::arg("device"),
             py::arg("stream"), release(),
             "grad^T x at the stored places; fullest: non-zeros of the fullest tile.");
}

}  // namespace tokfrag
