// A column of strings as any Arrow library hands it over, read where it lies.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bindings/arrow_interface.hpp"
#include "tokens/text/text.hpp"

namespace tokfrag {

// The texts of an Arrow array, or of a stream of them (a chunked array, a series). Immutable; the
// memory is held until this goes. Arrow says that nobody writes to it, yet a caller could: so where
// texts lie is read once, and the texts are Text::kShared, copied before they are looked at.
class ArrowTexts {
 public:
  // With the GIL. TypeError if the object is no column of strings or bytes, ValueError if an item
  // is null or the array is malformed.
  explicit ArrowTexts(const pybind11::object& column);

  const std::vector<Text>& texts() const { return texts_; }
  // Of an item: from the end if negative; IndexError if there is none.
  pybind11::bytes item(std::int64_t index) const;
  // Of all texts.
  std::int64_t size_bytes() const;

 private:
  void add(ArrowOwned<ArrowArray> array);
  template <class Offset>
  void add_offsets(const ArrowArray& array);
  void add_views(const ArrowArray& array);
  [[noreturn]] void refuse_null(const std::uint8_t* valid, const ArrowArray& array) const;

  std::string format_;
  std::vector<ArrowOwned<ArrowArray>> arrays_;
  std::vector<Text> texts_;
};

}  // namespace tokfrag
