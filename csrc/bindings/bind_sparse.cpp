#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstring>

#include "bindings/bindings.hpp"
#include "core/checksum.hpp"
#include "sparse/bitmap.hpp"
#include "sparse/descent.hpp"
#include "sparse/descent_kernel.hpp"
#include "sparse/layout.hpp"
#include "sparse/products.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

using sparse::Batch;
using sparse::Bitmap;
using sparse::Element;
using sparse::Layout;
using sparse::Pattern;

// Arrays come as addresses: Python has checked their sizes, types and contiguity.
using Address = std::uintptr_t;

template <class T = void>
const T* in(Address address) {
  return reinterpret_cast<const T*>(address);
}
template <class T = void>
T* out(Address address) {
  return reinterpret_cast<T*>(address);
}

const std::uint8_t* bytes(Address address) { return in<std::uint8_t>(address); }

// The layout with row groups where the matrix is made of blocks, the plain one elsewhere.
Layout suited(const Pattern& pattern, Address local, Address runs) {
  return pattern.in_blocks() ? pattern.blocked(bytes(local), bytes(runs))
                             : pattern.layout(bytes(local), bytes(runs));
}

}  // namespace

void bind_sparse(py::module_& parent) {
  using release = py::call_guard<ReleaseGil>;
  py::module_ module = parent.def_submodule("sparse");
  module.attr("TILE") = sparse::kTile;

  module.def(
      "encode_runs",
      [](Address mask, std::int64_t rows, std::int64_t columns, Address runs) {
        return sparse::encode_runs(bytes(mask), rows, columns, out<std::uint8_t>(runs));
      },
      py::arg("mask"), py::arg("rows"), py::arg("columns"), py::arg("runs"), release());
  module.def(
      "encode_columns",
      [](Address mask, std::int64_t rows, std::int64_t columns, Address runs, Address local) {
        sparse::encode_columns(bytes(mask), rows, columns, bytes(runs), out<std::uint8_t>(local));
      },
      py::arg("mask"), py::arg("rows"), py::arg("columns"), py::arg("runs"), py::arg("local"),
      release());

  module.def(
      "sample_bytes",
      [](Address values, std::int64_t size, std::int64_t count) {
        // Shows a change of the whole array. Each is a cache miss, so few: 64 cost 60 us.
        constexpr std::int64_t kSamples = 4;
        char samples[kSamples * 8];
        const std::int64_t taken = std::min(kSamples, count);
        for (std::int64_t i = 0; i < taken; ++i) {
          std::memcpy(samples + i * size, in<char>(values) + i * count / taken * size,
                      static_cast<std::size_t>(size));
        }
        return py::bytes(samples, static_cast<std::size_t>(taken * size));
      },
      py::arg("values"), py::arg("size"), py::arg("count"));
  module.def(
      "checksum", [](Address data, std::int64_t size) { return checksum(in(data), size); },
      py::arg("data"), py::arg("size"), release());

  py::class_<Pattern>(module, "Pattern")
      .def(py::init([](Address local, Address runs, std::int64_t rows, std::int64_t columns,
                       std::int64_t nnz) {
             return std::make_unique<Pattern>(bytes(local), bytes(runs), rows, columns, nnz);
           }),
           py::arg("local"), py::arg("runs"), py::arg("rows"), py::arg("columns"), py::arg("nnz"),
           release())
      .def_property_readonly("rows", &Pattern::rows)
      .def_property_readonly("columns", &Pattern::columns)
      .def_property_readonly("nnz", &Pattern::nnz)
      .def_property_readonly("in_blocks", &Pattern::in_blocks)
      .def_property_readonly("nbytes", &Pattern::bytes)
      .def(
          "positions",
          [](const Pattern& self, Address local, Address runs, Address positions) {
            sparse::decode_positions(self.layout(bytes(local), bytes(runs)),
                                     out<std::int64_t>(positions));
          },
          py::arg("local"), py::arg("runs"), py::arg("positions"), release())
      .def(
          "describe",
          [](const Pattern& self, Address local, Address runs, bool transposed, Address spans,
             Address starts, Address origins) {
            const Layout stored = self.layout(bytes(local), bytes(runs));
            const Layout view = transposed ? self.transposed(bytes(local), bytes(runs)) : stored;
            sparse::encode_spans(view, out<std::uint32_t>(spans));
            const std::int64_t tiles = view.chunks() * view.row_blocks();
            std::copy_n(view.starts, tiles + 1, out<std::int64_t>(starts));
            for (std::int64_t tile = 0; tile < tiles; ++tile) {
              out<std::int64_t>(origins)[tile] =
                  transposed ? stored.tile_start(tile % stored.chunks(), tile / stored.chunks())
                             : view.starts[tile];
            }
          },
          py::arg("local"), py::arg("runs"), py::arg("transposed"), py::arg("spans"),
          py::arg("starts"), py::arg("origins"), release())
      .def(
          "describe_transposed",
          [](const Pattern& self, Address local, Address runs, Address turned, Address sources) {
            const Layout transposed = self.transposed(bytes(local), bytes(runs));
            std::copy_n(transposed.local, self.nnz(), out<std::uint8_t>(turned));
            std::copy_n(self.sources(), self.nnz(), out<std::uint16_t>(sources));
          },
          py::arg("local"), py::arg("runs"), py::arg("turned"), py::arg("sources"), release())
      .def(
          "describe_rows",
          [](const Pattern& self, Address local, Address runs, Address rows) {
            sparse::decode_rows(self.layout(bytes(local), bytes(runs)), out<std::uint8_t>(rows));
          },
          py::arg("local"), py::arg("runs"), py::arg("rows"), release())
      .def(
          "expand",
          [](const Pattern& self, Address local, Address runs, Address values, int size,
             Address dense) {
            sparse::expand(self.layout(bytes(local), bytes(runs)), in(values), size, out(dense));
          },
          py::arg("local"), py::arg("runs"), py::arg("values"), py::arg("size"), py::arg("dense"),
          release())
      .def(
          "multiply",
          [](const Pattern& self, int element, Address local, Address runs, Address x,
             std::int64_t batch, Address values, Address bias, Address y, int threads) {
            const auto type = static_cast<Element>(element);
            const Layout layout = !self.in_blocks() && sparse::masks_pay(type, self, batch)
                                      ? self.masked(bytes(local), bytes(runs))
                                      : suited(self, local, runs);
            sparse::multiply(type, layout, Batch{in(x), batch}, in(values), in(bias), out(y),
                             threads);
          },
          py::arg("element"), py::arg("local"), py::arg("runs"), py::arg("x"), py::arg("batch"),
          py::arg("values"), py::arg("bias"), py::arg("y"), py::arg("threads"), release())
      .def(
          "multiply_transposed",
          [](const Pattern& self, int element, Address local, Address runs, Address x,
             std::int64_t batch, Address values, Address y, int threads) {
            sparse::multiply_transposed(static_cast<Element>(element), self,
                                        suited(self, local, runs), Batch{in(x), batch}, in(values),
                                        out(y), threads);
          },
          py::arg("element"), py::arg("local"), py::arg("runs"), py::arg("x"), py::arg("batch"),
          py::arg("values"), py::arg("y"), py::arg("threads"), release())
      .def(
          "sample",
          [](const Pattern& self, int element, Address local, Address runs, Address grad,
             std::int64_t batch, Address x, Address values, int threads) {
            sparse::sample(static_cast<Element>(element), suited(self, local, runs),
                           Batch{in(grad), batch}, in(x), out(values), threads);
          },
          py::arg("element"), py::arg("local"), py::arg("runs"), py::arg("grad"), py::arg("batch"),
          py::arg("x"), py::arg("values"), py::arg("threads"), release());

  module.attr("WORD_COLUMNS") = sparse::kWordColumns;
  module.attr("FEW_INPUTS") = sparse::kFewInputs;
  module.def(
      "encode_bitmap",
      [](Address mask, std::int64_t rows, std::int64_t columns, Address bitmap) {
        return sparse::encode_bitmap(bytes(mask), rows, columns, out<std::uint64_t>(bitmap));
      },
      py::arg("mask"), py::arg("rows"), py::arg("columns"), py::arg("bitmap"), release());
  py::class_<Bitmap>(module, "Bitmap")
      .def(py::init([](Address bitmap, std::int64_t rows, std::int64_t columns) {
             return std::make_unique<Bitmap>(in<std::uint64_t>(bitmap), rows, columns);
           }),
           py::arg("bitmap"), py::arg("rows"), py::arg("columns"), release())
      .def_property_readonly("nnz", &Bitmap::nnz)
      .def(
          "multiply",
          [](const Bitmap& self, int element, Address bitmap, Address x, std::int64_t batch,
             Address values, Address bias, Address y, int threads) {
            self.multiply(static_cast<Element>(element), in<std::uint64_t>(bitmap), in(x), batch,
                          in(values), in(bias), out(y), threads);
          },
          py::arg("element"), py::arg("bitmap"), py::arg("x"), py::arg("batch"), py::arg("values"),
          py::arg("bias"), py::arg("y"), py::arg("threads"), release())
      .def(
          "multiply_codes",
          [](const Bitmap& self, Address bitmap, Address x, std::int64_t batch, Address codes,
             Address scales, std::int64_t group_words, Address bias, Address y, int threads) {
            self.multiply_codes(in<std::uint64_t>(bitmap), in<float>(x), batch,
                                in<std::int8_t>(codes), in<float>(scales), group_words,
                                in<float>(bias), out<float>(y), threads);
          },
          py::arg("bitmap"), py::arg("x"), py::arg("batch"), py::arg("codes"), py::arg("scales"),
          py::arg("group_words"), py::arg("bias"), py::arg("y"), py::arg("threads"), release());

  module.attr("DESCENT_BLOCK") = sparse::kDescentBlock;
  module.def(
      "descend_block",
      [](bool wide, Address weights, std::int64_t stride, Address residual, Address gram,
         Address mask, std::int64_t mask_stride, double alpha, std::int64_t rows,
         std::int64_t width, std::int64_t passes, Address progress, int threads) {
        if (wide) {
          sparse::descend_block(out<double>(weights), stride, in<double>(residual),
                                in<double>(gram), bytes(mask), mask_stride, alpha, rows, width,
                                passes, out<double>(progress), threads);
        } else {
          sparse::descend_block(out<float>(weights), stride, in<float>(residual), in<float>(gram),
                                bytes(mask), mask_stride, alpha, rows, width, passes,
                                out<float>(progress), threads);
        }
      },
      py::arg("wide"), py::arg("weights"), py::arg("stride"), py::arg("residual"), py::arg("gram"),
      py::arg("mask"), py::arg("mask_stride"), py::arg("alpha"), py::arg("rows"), py::arg("width"),
      py::arg("passes"), py::arg("progress"), py::arg("threads"), release());
  module.def(
      "lookup",
      [](int element, Address offsets, Address local, Address values, std::int64_t columns,
         Address ids, std::int64_t count, Address result, int threads) {
        sparse::lookup(static_cast<Element>(element), in<std::int64_t>(offsets),
                       in<std::int16_t>(local), in(values), columns, in<std::int64_t>(ids), count,
                       out(result), threads);
      },
      py::arg("element"), py::arg("offsets"), py::arg("local"), py::arg("values"),
      py::arg("columns"), py::arg("ids"), py::arg("count"), py::arg("out"), py::arg("threads"),
      release());
  module.def(
      "lookup_gradient",
      [](int element, Address offsets, Address local, std::int64_t rows, std::int64_t columns,
         Address ids, std::int64_t count, Address grad, Address result, int threads) {
        sparse::lookup_gradient(static_cast<Element>(element), in<std::int64_t>(offsets),
                                in<std::int16_t>(local), rows, columns, in<std::int64_t>(ids),
                                count, in(grad), out(result), threads);
      },
      py::arg("element"), py::arg("offsets"), py::arg("local"), py::arg("rows"), py::arg("columns"),
      py::arg("ids"), py::arg("count"), py::arg("grad"), py::arg("out"), py::arg("threads"),
      release());
}

}  // namespace tokfrag
