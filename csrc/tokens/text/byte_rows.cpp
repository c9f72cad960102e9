#include "tokens/text/byte_rows.hpp"

namespace tokfrag {

namespace {

constexpr ByteRows every_byte() {
  ByteRows rows{};
  for (int byte = 0; byte < 256; ++byte) {
    for (std::uint8_t& there : rows.all[byte]) there = static_cast<std::uint8_t>(byte);
  }
  return rows;
}

}  // namespace

alignas(64) constexpr ByteRows kByteRows = every_byte();

}  // namespace tokfrag
