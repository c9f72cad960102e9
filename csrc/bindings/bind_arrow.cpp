#include <utility>

#include "bindings/arrow_texts.hpp"
#include "bindings/bindings.hpp"
#include "core/interrupt.hpp"

namespace py = pybind11;

namespace tokfrag {

namespace {

// What a capsule holds, moved out of it.
template <class Structure>
ArrowOwned<Structure> taken(const py::handle& capsule, const char* name) {
  auto* const held = static_cast<Structure*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (held == nullptr) throw py::error_already_set();
  if (held->release == nullptr) throw py::value_error("texts: an Arrow array that is released");
  return ArrowOwned<Structure>(held);
}

bool is_strings(const std::string& format) {
  return format == "u" || format == "U" || format == "vu" || format == "z" || format == "Z" ||
         format == "vz";
}

std::string checked_format(const ArrowSchema& schema) {
  const std::string format = schema.format == nullptr ? "" : schema.format;
  if (schema.dictionary != nullptr) {
    throw py::type_error("texts: an Arrow column of a dictionary; cast it to its strings");
  }
  if (!is_strings(format)) {
    throw py::type_error("texts: an Arrow column of type '" + format +
                         "', takes string, large_string, string_view or their binary kin");
  }
  return format;
}

// One of the 16 bytes that a string or binary view is.
struct View {
  std::int32_t length;
  union {
    char inlined[12];
    struct {
      char prefix[4];
      std::int32_t buffer;
      std::int32_t offset;
    } held;
  };
};
static_assert(sizeof(View) == 16);

constexpr std::int32_t kInlined = 12;
constexpr std::int64_t kPolled = 1 << 16;  // texts between two polls

[[noreturn]] void refuse_malformed(std::size_t at) {
  throw py::value_error("texts: item " + std::to_string(at) + " of a malformed Arrow array");
}

}  // namespace

ArrowTexts::ArrowTexts(const py::object& column) {
  if (py::hasattr(column, "__arrow_c_stream__")) {
    const py::object capsule = column.attr("__arrow_c_stream__")();
    auto stream = taken<ArrowArrayStream>(capsule, "arrow_array_stream");
    const auto check = [&](int status) {
      if (status == 0) return;
      const char* const why = stream.get()->get_last_error(stream.get());
      throw py::value_error(std::string("texts: an Arrow stream that fails: ") +
                            (why == nullptr ? "no reason given" : why));
    };
    ArrowOwned<ArrowSchema> schema;
    check(stream.get()->get_schema(stream.get(), schema.get()));
    format_ = checked_format(*schema);
    for (;;) {
      ArrowOwned<ArrowArray> array;
      check(stream.get()->get_next(stream.get(), array.get()));
      if (array.released()) break;
      add(std::move(array));
    }
    return;
  }
  const py::tuple pair = column.attr("__arrow_c_array__")();
  const auto schema = taken<ArrowSchema>(pair[0], "arrow_schema");
  format_ = checked_format(*schema);
  add(taken<ArrowArray>(pair[1], "arrow_array"));
}

void ArrowTexts::refuse_null(const std::uint8_t* valid, const ArrowArray& array) const {
  std::int64_t at = 0;
  while ((valid[(array.offset + at) / 8] >> ((array.offset + at) % 8) & 1) != 0) ++at;
  throw py::value_error("texts: item " +
                        std::to_string(texts_.size() + static_cast<std::size_t>(at)) +
                        " is null, takes text");
}

void ArrowTexts::add(ArrowOwned<ArrowArray> array) {
  const bool views = format_.size() == 2;
  const std::int64_t least = views ? 2 : 3;
  if (array->length < 0 || array->offset < 0 || array->n_buffers < least) {
    refuse_malformed(texts_.size());
  }
  if (array->length == 0) return;
  const auto* const valid = static_cast<const std::uint8_t*>(array->buffers[0]);
  if (valid != nullptr && array->null_count != 0) {
    for (std::int64_t at = array->offset; at < array->offset + array->length; ++at) {
      if ((valid[at / 8] >> (at % 8) & 1) == 0) refuse_null(valid, *array);
    }
  }
  if (array->buffers[1] == nullptr) refuse_malformed(texts_.size());
  // Only once: of many small arrays, each would move all that came before.
  if (texts_.empty()) texts_.reserve(static_cast<std::size_t>(array->length));
  if (views) {
    add_views(*array);
  } else if (format_ == "u" || format_ == "z") {
    add_offsets<std::int32_t>(*array);
  } else {
    add_offsets<std::int64_t>(*array);
  }
  arrays_.push_back(std::move(array));
}

template <class Offset>
void ArrowTexts::add_offsets(const ArrowArray& array) {
  const Offset* const offsets = static_cast<const Offset*>(array.buffers[1]) + array.offset;
  const auto* const bytes = static_cast<const char*>(array.buffers[2]);
  Offset begin = offsets[0];
  for (std::int64_t i = 0; i < array.length; ++i) {
    const Offset end = offsets[i + 1];
    if (begin < 0 || end < begin || (bytes == nullptr && end > begin)) {
      refuse_malformed(texts_.size());
    }
    texts_.push_back({bytes == nullptr ? "" : bytes + begin, end - begin, Text::kShared});
    begin = end;
    if (i % kPolled == kPolled - 1) poll_interrupt();
  }
}

void ArrowTexts::add_views(const ArrowArray& array) {
  // The last buffer tells how long those are that hold the texts.
  const std::int64_t held = array.n_buffers - 3;
  const auto* const lengths =
      held > 0 ? static_cast<const std::int64_t*>(array.buffers[array.n_buffers - 1]) : nullptr;
  const View* const views = static_cast<const View*>(array.buffers[1]) + array.offset;
  for (std::int64_t i = 0; i < array.length; ++i) {
    const View view = views[i];
    if (view.length < 0) refuse_malformed(texts_.size());
    const char* bytes = views[i].inlined;
    if (view.length > kInlined) {
      if (lengths == nullptr || view.held.buffer < 0 || view.held.buffer >= held ||
          view.held.offset < 0 || view.held.offset > lengths[view.held.buffer] - view.length) {
        refuse_malformed(texts_.size());
      }
      bytes = static_cast<const char*>(array.buffers[2 + view.held.buffer]) + view.held.offset;
    }
    texts_.push_back({bytes, view.length, Text::kShared});
    if (i % kPolled == kPolled - 1) poll_interrupt();
  }
}

py::bytes ArrowTexts::item(std::int64_t index) const {
  const auto count = static_cast<std::int64_t>(texts_.size());
  if (index < -count || index >= count) throw py::index_error("texts: no such item");
  const Text& text = texts_[static_cast<std::size_t>(index < 0 ? index + count : index)];
  return {static_cast<const char*>(text.data), static_cast<std::size_t>(text.length)};
}

std::int64_t ArrowTexts::size_bytes() const {
  std::int64_t total = 0;
  for (const Text& text : texts_) total += text.length;
  return total;
}

void bind_arrow(py::module_& module) {
  py::module_ arrow = module.def_submodule("arrow");
  // Without an iterator of its own: Python asks for one item after another until IndexError.
  py::class_<ArrowTexts>(arrow, "ArrowTexts")
      .def(py::init<py::object>(), py::arg("column"))
      .def("__len__", [](const ArrowTexts& texts) { return texts.texts().size(); })
      .def("__getitem__", &ArrowTexts::item, py::arg("index"))
      .def_property_readonly("n_bytes", &ArrowTexts::size_bytes);
}

}  // namespace tokfrag
