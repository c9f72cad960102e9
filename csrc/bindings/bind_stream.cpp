#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "stream/packing.hpp"
#include "stream/patches.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

py::array numbers(const std::vector<std::int64_t>& from) {
  return Array<std::int64_t>(static_cast<py::ssize_t>(from.size()), from.data());
}

IdType id_type(const py::array& array, const char* name) {
  if (py::isinstance<py::array_t<std::uint16_t>>(array)) return IdType::kUint16;
  if (py::isinstance<py::array_t<std::uint32_t>>(array)) return IdType::kUint32;
  if (py::isinstance<py::array_t<std::int32_t>>(array)) return IdType::kInt32;
  if (py::isinstance<py::array_t<std::int64_t>>(array)) return IdType::kInt64;
  throw py::type_error(std::string(name) + ": got " + py::str(array.dtype()).cast<std::string>() +
                       ", takes uint16, uint32, int32 or int64");
}

void check_size(const py::array& array, std::int64_t size, const char* name) {
  if (array.size() != size || (array.flags() & kPlainLayout) != kPlainLayout) {
    throw py::value_error(std::string(name) + ": got " + std::to_string(array.size()) +
                          " numbers, takes " + std::to_string(size) + " side by side, aligned");
  }
}

// A plan and the offsets it was made for: a copy, since the caller's may change, also between
// Python's check and this one.
class Packing {
 public:
  Packing(const Array<std::int64_t>& offsets, std::int64_t length, int method, std::uint64_t seed)
      : offsets_(offsets.data(), offsets.data() + offsets.size()), length_(length) {
    if (length < 1 || length > kLongestRow) throw py::value_error("length: takes 1 to LONGEST_ROW");
    if (method < 0 || method > static_cast<int>(PackMethod::kInOrder)) {
      throw py::value_error("method: takes 0, 1 or 2");
    }
    if (offsets_.empty() || offsets_.front() < 0) {
      throw py::value_error("offsets: take one more than there are documents, from 0 on");
    }
    const ReleaseGil nogil;
    const bool cuts = static_cast<PackMethod>(method) == PackMethod::kInOrder;
    std::vector<std::int64_t> lengths(offsets_.size() - 1);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      if (offsets_[i + 1] < offsets_[i]) throw py::value_error("offsets: take ascending places");
      lengths[i] = offsets_[i + 1] - offsets_[i];
      if (!cuts && lengths[i] > length) {
        throw py::value_error("offsets: document " + std::to_string(i) + " is longer than a row");
      }
    }
    plan_ = plan_packing(lengths.data(), static_cast<std::int64_t>(lengths.size()), length,
                         static_cast<PackMethod>(method), seed);
  }

  std::int64_t rows() const { return static_cast<std::int64_t>(plan_.row_begin.size()) - 1; }
  const PackPlan& plan() const { return plan_; }

  void fill(const py::array& values, std::int64_t pad, py::array out, int threads) const {
    check_size(values, offsets_.back(), "values");
    check_size(out, rows() * length_, "out");
    const IdType out_type = id_type(out, "out");
    if (out_type != IdType::kInt32 && out_type != IdType::kInt64) {
      throw py::type_error("out: takes int32 or int64");
    }
    const PackTask task = {&plan_,        length_, offsets_.data(), id_type(values, "values"),
                           values.data(), pad,     out_type,        out.mutable_data()};
    const ReleaseGil nogil;
    fill_rows(task, threads);
  }

  void places(Array<std::int64_t> positions, Array<std::int32_t> documents, Array<bool> kept,
              int threads) const {
    check_size(positions, rows() * length_, "positions");
    check_size(documents, rows() * length_, "documents");
    check_size(kept, rows() * length_, "kept");
    std::int64_t* const to_positions = positions.mutable_data();
    std::int32_t* const to_documents = documents.mutable_data();
    bool* const to_kept = kept.mutable_data();
    const ReleaseGil nogil;
    fill_places(plan_, length_, to_positions, to_documents, to_kept, threads);
  }

 private:
  std::vector<std::int64_t> offsets_;
  std::int64_t length_;
  PackPlan plan_;
};

// data, strides of frame, row, column and channel, frames, t, h, w
using Item = std::array<std::int64_t, 9>;

void bound_patchify(int type, int out_type, const std::vector<Item>& items,
                    const std::array<std::int64_t, 5>& sizes,
                    const std::array<std::int64_t, 4>& steps, int formula, std::uintptr_t table,
                    std::uintptr_t scale, std::uintptr_t shift, std::uintptr_t out, int threads) {
  std::vector<PatchItem> made;
  std::int64_t patches = 0;
  std::int64_t strips = 0;
  for (const Item& item : items) {
    made.push_back({reinterpret_cast<const void*>(item[0]), item[1], item[2], item[3], item[4],
                    item[5], item[6], item[7], item[8], patches, strips});
    patches += item[6] * item[7] * item[8];
    strips += item[6] * (item[7] / sizes[4]);
  }
  const PatchTask task = {made.data(),
                          static_cast<std::int64_t>(made.size()),
                          strips,
                          sizes[0],
                          sizes[1],
                          sizes[2],
                          sizes[3],
                          sizes[4],
                          steps[0],
                          steps[1],
                          steps[2],
                          steps[3],
                          static_cast<Dtype>(type),
                          static_cast<Dtype>(out_type),
                          static_cast<PatchFormula>(formula),
                          reinterpret_cast<const void*>(table),
                          reinterpret_cast<const float*>(scale),
                          reinterpret_cast<const float*>(shift),
                          reinterpret_cast<void*>(out),
                          false};
  const ReleaseGil nogil;
  patchify(task, threads);
}

}  // namespace

void bind_stream(py::module_& module) {
  py::module_ stream = module.def_submodule("stream");
  stream.attr("LONGEST_ROW") = kLongestRow;
  py::class_<Packing>(stream, "Packing")
      .def(py::init<const Array<std::int64_t>&, std::int64_t, int, std::uint64_t>(),
           py::arg("offsets"), py::arg("length"), py::arg("method"), py::arg("seed"))
      .def_property_readonly("rows", &Packing::rows)
      .def_property_readonly("document",
                             [](const Packing& self) { return numbers(self.plan().document); })
      .def_property_readonly("begin",
                             [](const Packing& self) { return numbers(self.plan().begin); })
      .def_property_readonly("length",
                             [](const Packing& self) { return numbers(self.plan().length); })
      .def_property_readonly("row_begin",
                             [](const Packing& self) { return numbers(self.plan().row_begin); })
      .def("fill", &Packing::fill, py::arg("values").noconvert(), py::arg("pad"),
           py::arg("out").noconvert(), py::arg("threads"))
      .def("places", &Packing::places, py::arg("positions").noconvert(),
           py::arg("documents").noconvert(), py::arg("kept").noconvert(), py::arg("threads"));
  stream.def("patchify", &bound_patchify, py::arg("type"), py::arg("out_type"), py::arg("items"),
             py::arg("sizes"), py::arg("steps"), py::arg("formula"), py::arg("table"),
             py::arg("scale"), py::arg("shift"), py::arg("out"), py::arg("threads"));
}

}  // namespace tokfrag
