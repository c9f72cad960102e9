// Texts as Python holds them, read without the GIL: every object that is read is held.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrow_texts.hpp"
#include "core/huge_buffer.hpp"
#include "tokens/text/text.hpp"
#include "tokens/text/text_view.hpp"

namespace tokfrag {

inline std::string type_name(pybind11::handle object) {
  return pybind11::str(pybind11::type::of(object).attr("__name__"));
}

inline bool is_text(pybind11::handle object) {
  return PyUnicode_Check(object.ptr()) || PyBytes_Check(object.ptr());
}

// The text of a str or bytes, in place: valid while the object lives. Python strings are read by
// their code units, because asking them for UTF-8 would leave a copy cached in each; where somebody
// has asked before, the copy is there to be used.
inline Text text_of(pybind11::handle object) {
  PyObject* const raw = object.ptr();
  if (PyUnicode_Check(raw)) {
#if !defined(PYPY_VERSION) && !defined(Py_GIL_DISABLED)
    const auto* compact = reinterpret_cast<const PyCompactUnicodeObject*>(raw);
    if (!PyUnicode_IS_ASCII(raw) && compact->utf8 != nullptr) {
      return {compact->utf8, compact->utf8_length, 0};
    }
#endif
    const int unit = PyUnicode_IS_ASCII(raw) ? 0 : static_cast<int>(PyUnicode_KIND(raw));
    return {PyUnicode_DATA(raw), PyUnicode_GET_LENGTH(raw), unit};
  }
  if (PyBytes_Check(raw)) return {PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw), 0};
  throw pybind11::type_error("text: expected str or bytes, got " + type_name(object));
}

// The same of a text to encode. A str of some length that comes twice in a row is likely to come
// again: then Python is asked for its UTF-8 after all, which it keeps for as long as the str lives,
// and all calls to come are spared the conversion.
inline Text text_met(pybind11::handle object) {
  const Text text = text_of(object);
#if !defined(PYPY_VERSION) && !defined(Py_GIL_DISABLED)
  constexpr std::int64_t kFew = 1 << 12;
  constexpr std::int64_t kMany = 1 << 22;  // what is kept is memory
  if (text.unit == 0 || text.length < kFew || text.length > kMany) return text;
  // Under the GIL. Only ever compared: it may be gone.
  static const PyObject* last = nullptr;
  if (last != object.ptr()) {
    last = object.ptr();
    return text;
  }
  Py_ssize_t size = 0;
  if (const char* const bytes = PyUnicode_AsUTF8AndSize(object.ptr(), &size)) {
    return {bytes, size, 0};
  }
  PyErr_Clear();  // a lone surrogate: it has none
#endif
  return text;
}

// The texts of a list, whatever other threads and signal handlers do to it meanwhile.
class HeldTexts {
 public:
  // With the GIL. `first_index`: what errors call the first.
  explicit HeldTexts(const pybind11::list& texts, std::size_t first_index = 0)
      : first_index_(first_index) {
    held_.reserve(texts.size());
    texts_.reserve(texts.size());
    for (const pybind11::handle text : texts) hold(text);
  }
  // One text.
  explicit HeldTexts(const pybind11::object& text) { hold(text); }
  // With the GIL. Those of a list or of ArrowTexts.
  static HeldTexts of_many(const pybind11::object& texts, std::size_t first_index = 0) {
    if (pybind11::isinstance<ArrowTexts>(texts)) {
      return {texts, &texts.cast<const ArrowTexts&>().texts(), first_index};
    }
    if (!PyList_Check(texts.ptr())) {
      throw pybind11::type_error("texts: expected a list or ArrowTexts, got " + type_name(texts));
    }
    return HeldTexts(pybind11::reinterpret_borrow<pybind11::list>(texts), first_index);
  }

  const std::vector<Text>& texts() const { return borrowed_ != nullptr ? *borrowed_ : texts_; }

  // The same as UTF-8, in place where it is that already. Without the GIL, and answers Ctrl-C.
  // Throws std::invalid_argument, Python's ValueError, for a text that has no UTF-8 form.
  std::vector<TextView> utf8() {
    const std::vector<Text>& all = texts();
    std::vector<TextView> views;
    views.reserve(all.size());
    std::int64_t left = 0;
    for (const Text& text : all) left += text.unit == 0 ? 0 : room_for(text);
    std::uint8_t* place = nullptr;
    std::int64_t room = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Text& text = all[i];
      if (text.unit == 0) {
        views.push_back({static_cast<const std::uint8_t*>(text.data), text.length});
        continue;
      }
      if (holds_surrogate(text)) {
        throw std::invalid_argument(named(i) +
                                    " holds a lone surrogate; takes text that has a UTF-8 form");
      }
      if (room < room_for(text)) {
        room = std::max(room_for(text), std::min(left, kBlockBytes));
        blocks_.emplace_back(room);
        place = blocks_.back().as<std::uint8_t>();
      }
      std::uint8_t* const end = write_utf8(text, place);
      views.push_back({place, end - place});
      room -= end - place;
      left -= room_for(text);
      place = end;
    }
    return views;
  }

 private:
  static constexpr std::int64_t kBlockBytes = std::int64_t{1} << 24;

  HeldTexts(const pybind11::object& holder, const std::vector<Text>* texts, std::size_t first_index)
      : held_{holder}, borrowed_(texts), first_index_(first_index) {}

  void hold(pybind11::handle text) {
    if (!is_text(text)) {
      throw pybind11::type_error(named(texts_.size()) + " is a " + type_name(text) +
                                 ", expected str or bytes");
    }
    held_.push_back(pybind11::reinterpret_borrow<pybind11::object>(text));
    texts_.push_back(text_of(text));
  }
  std::string named(std::size_t i) const {
    return "texts: item " + std::to_string(first_index_ + i);
  }
  static std::int64_t room_for(const Text& text) { return utf8_bound(text) + kUtf8Slack; }

  std::vector<pybind11::object> held_;
  std::vector<Text> texts_;
  const std::vector<Text>* borrowed_ = nullptr;  // of an object that is held
  std::vector<HugeBuffer> blocks_;
  std::size_t first_index_ = 0;
};

// The bytes of a contiguous buffer, which cannot go or shrink while this lives.
class HeldBytes {
 public:
  explicit HeldBytes(pybind11::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_SIMPLE) != 0) {
      throw pybind11::error_already_set();
    }
  }
  HeldBytes(HeldBytes&& other) noexcept : buffer_(other.buffer_) { other.buffer_.obj = nullptr; }
  ~HeldBytes() { PyBuffer_Release(&buffer_); }
  HeldBytes(const HeldBytes&) = delete;
  HeldBytes& operator=(const HeldBytes&) = delete;

  const std::uint8_t* data() const { return static_cast<const std::uint8_t*>(buffer_.buf); }
  std::int64_t size() const { return buffer_.len; }

 private:
  Py_buffer buffer_;
};

}  // namespace tokfrag
