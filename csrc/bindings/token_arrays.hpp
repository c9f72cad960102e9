// Ids as NumPy arrays, and which special tokens a call allows.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "tokens/byte_pair/model.hpp"

namespace tokfrag {

// A byte a special token: which are allowed. None: no token; empty bytes: all.
inline AllowedSpecial allowed_of(const Model& model, const pybind11::object& flags) {
  if (flags.is_none()) return {};
  const auto view =
      static_cast<std::string_view>(pybind11::reinterpret_borrow<pybind11::bytes>(flags));
  if (view.empty()) return {true, nullptr};
  if (view.size() != model.special().tokens().size()) {
    throw pybind11::value_error("allowed: takes a byte for each special token");
  }
  return {true, reinterpret_cast<const std::uint8_t*>(view.data())};
}

// NumPy's own call: pybind11's constructor takes two allocations more, which a brief text feels.
inline pybind11::array_t<std::uint32_t> copy_of(const TokenBuffer& ids) {
  const auto& numpy = pybind11::detail::npy_api::get();
  const Py_intptr_t shape = ids.size();
  PyObject* const made = numpy.PyArray_NewFromDescr_(
      numpy.PyArray_Type_, pybind11::dtype::of<std::uint32_t>().release().ptr(), 1, &shape, nullptr,
      nullptr, 0, nullptr);
  if (made == nullptr) throw pybind11::error_already_set();
  auto array = pybind11::reinterpret_steal<pybind11::array_t<std::uint32_t>>(made);
  if (ids.size() > 0) {
    std::memcpy(pybind11::detail::array_proxy(made)->data, ids.data(),
                static_cast<std::size_t>(ids.size()) * sizeof(std::uint32_t));
  }
  return array;
}

// Takes the memory over where it is large.
inline pybind11::array_t<std::uint32_t> array_of(TokenBuffer ids) {
  const std::int64_t count = ids.size();
  if (count < 4096) return copy_of(ids);
  ids.shrink();
  std::uint32_t* const data = ids.release();
  const pybind11::capsule owner(data, [](void* held) { std::free(held); });
  return pybind11::array_t<std::uint32_t>({count}, {std::int64_t{4}}, data, owner);
}

}  // namespace tokfrag
