#include <pybind11/numpy.h>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/cut_plan.hpp"
#include "fragments/extract/cut.hpp"
#include "fragments/stitch/stitch.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using Address = std::uintptr_t;
using Indices = Array<std::int64_t>;

// A slab of sums at an address, made once for many batches.
class Slab {
 public:
  Slab(Address sums, bool wide, std::int64_t channels, const py::tuple& lengths)
      : slab_{reinterpret_cast<void*>(sums), wide, channels, static_cast<int>(lengths.size()), {}} {
    copy(lengths, slab_.lengths);
  }

  void add(int dtype, Address fragments, std::int64_t item, const py::tuple& strides,
           const py::tuple& size, const py::tuple& dilation, const Indices& origins,
           const py::tuple& vectors, const Indices& variants, Address whole, bool keep_max,
           int threads) const {
    StitchAdd task{};
    task.dtype = static_cast<Dtype>(dtype);
    task.fragments = reinterpret_cast<const void*>(fragments);
    task.count = origins.shape(0);
    const Extents bytes = extents(strides, item);
    task.fragment_stride = bytes[0];
    task.channel_stride = bytes[1];
    for (int axis = 0; axis < slab_.rank; ++axis) {
      task.tap_strides[axis] = bytes[static_cast<std::size_t>(axis) + 2];
    }
    copy(size, task.size);
    copy(dilation, task.dilation);
    task.origins = origins.data();
    copy(vectors, task.vectors);
    task.variants = variants.data();
    task.whole = reinterpret_cast<const void*>(whole);
    task.keep_max = keep_max;
    const ReleaseGil nogil;
    stitch_add(slab_, task, threads);
  }

  void emit(int dtype, Address out, std::int64_t item, const py::tuple& strides, std::int64_t first,
            const py::tuple& lengths, const py::tuple& factors, Address divisors,
            const py::tuple& divisor_rows, bool keep_max, int threads) const {
    StitchEmit task{};
    task.dtype = static_cast<Dtype>(dtype);
    task.out = reinterpret_cast<void*>(out);
    const Extents bytes = extents(strides, item);
    task.channel_stride = bytes[0];
    for (int axis = 0; axis < slab_.rank; ++axis) {
      task.strides[axis] = bytes[static_cast<std::size_t>(axis) + 1];
    }
    task.first = first;
    copy(lengths, task.extents);
    copy(factors, task.factors);
    task.divisors = reinterpret_cast<const void*>(divisors);
    for (std::size_t axis = 0; axis < divisor_rows.size(); ++axis) {
      task.divisor_rows[axis] =
          reinterpret_cast<const std::int64_t*>(divisor_rows[axis].cast<Address>());
    }
    task.keep_max = keep_max;
    const ReleaseGil nogil;
    stitch_emit(slab_, task, threads);
  }

 private:
  static void copy(const py::tuple& values, std::int64_t (&to)[kMaxAxes]) {
    const Extents read = extents(values);
    for (std::size_t axis = 0; axis < kMaxAxes; ++axis) to[axis] = read[axis];
  }
  static void copy(const py::tuple& addresses, const void* (&to)[kMaxAxes]) {
    for (std::size_t axis = 0; axis < addresses.size(); ++axis) {
      to[axis] = reinterpret_cast<const void*>(addresses[axis].cast<Address>());
    }
  }

  StitchSlab slab_;
};

// (count, 1 + rank): the batch entry and the origin of windows counted over the batch and the grid.
Indices window_places(const CutPlan& plan, const Indices& numbers) {
  const GridShape& grid = plan.grid();
  if (plan.fragments() == 0 && numbers.size() > 0) throw py::value_error("the grid has no windows");
  const py::ssize_t columns = 1 + grid.rank;
  Indices places({numbers.size(), columns});
  std::int64_t* place = places.mutable_data();
  for (py::ssize_t i = 0; i < numbers.size(); ++i, place += columns) {
    std::int64_t rest = numbers.data()[i];
    for (int axis = grid.rank - 1; axis >= 0; --axis) {
      const GridAxis& own = grid.axes[axis];
      place[1 + axis] = window_start(own, rest % own.count);
      rest /= own.count;
    }
    place[0] = rest;
  }
  return places;
}

void cut_at(Address data, std::int64_t item, const py::tuple& shape, const py::tuple& strides,
            const py::tuple& size, const py::tuple& dilation, const Indices& places, Address out,
            int threads) {
  const Extents lengths = extents(shape);
  const Extents bytes = extents(strides);
  const Extents sizes = extents(size);
  const Extents steps = extents(dilation);
  CutTask task{};
  task.data = reinterpret_cast<const void*>(data);
  task.item = item;
  task.entry_stride = bytes[0];
  task.channel_stride = bytes[1];
  task.rank = static_cast<int>(size.size());
  for (std::size_t axis = 0; axis < kMaxAxes; ++axis) {
    task.strides[axis] = bytes[axis + 2];
    task.size[axis] = sizes[axis];
    task.dilation[axis] = steps[axis];
  }
  task.count = places.shape(0);
  task.channels = lengths[1];
  task.places = places.data();
  task.out = reinterpret_cast<void*>(out);
  const ReleaseGil nogil;
  cut(task, threads);
}

}  // namespace

void bind_stitching(py::module_& module) {
  py::module_ stitching = module.def_submodule("stitching");
  stitching.def("window_places", &window_places, py::arg("plan"), py::arg("numbers"),
                "The entry and the origin of windows counted over the batch and then the grid.");
  stitching.def(
      "cut_at", &cut_at, py::arg("data"), py::arg("item"), py::arg("shape"), py::arg("strides"),
      py::arg("size"), py::arg("dilation"), py::arg("places"), py::arg("out"), py::arg("threads"),
      "Cuts fragments, each at an entry and an origin, from an address; strides in bytes.");
  py::class_<Slab>(stitching, "Slab", "A slab of sums at an address, a ring along its first axis.")
      .def(py::init<Address, bool, std::int64_t, const py::tuple&>(), py::arg("sums"),
           py::arg("wide"), py::arg("channels"), py::arg("lengths"))
      .def("add", &Slab::add, py::arg("dtype"), py::arg("fragments"), py::arg("item"),
           py::arg("strides"), py::arg("size"), py::arg("dilation"), py::arg("origins"),
           py::arg("vectors"), py::arg("variants"), py::arg("whole"), py::arg("keep_max"),
           py::arg("threads"), "Adds fragments at an address; strides in items; 0: no array.")
      .def("emit", &Slab::emit, py::arg("dtype"), py::arg("out"), py::arg("item"),
           py::arg("strides"), py::arg("first"), py::arg("lengths"), py::arg("factors"),
           py::arg("divisors"), py::arg("divisor_rows"), py::arg("keep_max"), py::arg("threads"),
           "Writes finished positions to an address and empties them; 0: no array.");
}

}  // namespace tokfrag
