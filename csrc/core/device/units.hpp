// Units of 1 to 16 bytes, each moved by one access.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/cuda.hpp"

// What only nvcc understands: unrolled loops, or ones that must stay rolled.
#if defined(__CUDACC__)
#define TOKFRAG_UNROLL _Pragma("unroll")
#define TOKFRAG_NO_UNROLL _Pragma("unroll 1")
#else
#define TOKFRAG_UNROLL
#define TOKFRAG_NO_UNROLL
#endif

namespace tokfrag {

constexpr int kMaxUnit = 16;

template <int kBytes>
struct alignas(kBytes) Unit {
  unsigned char bytes[kBytes];
};

// Reads what no kernel writes meanwhile. The second loads are for the host and for tests.
template <int kBytes>
TOKFRAG_HOST_DEVICE inline Unit<kBytes> load_unit(const char* from) {
  Unit<kBytes> unit;
#if defined(__CUDA_ARCH__)
  if constexpr (kBytes == 16) {
    const uint4 value = __ldg(reinterpret_cast<const uint4*>(from));
    std::memcpy(&unit, &value, kBytes);
  } else if constexpr (kBytes == 8) {
    const uint2 value = __ldg(reinterpret_cast<const uint2*>(from));
    std::memcpy(&unit, &value, kBytes);
  } else if constexpr (kBytes == 4) {
    const unsigned int value = __ldg(reinterpret_cast<const unsigned int*>(from));
    std::memcpy(&unit, &value, kBytes);
  } else if constexpr (kBytes == 2) {
    const unsigned short value = __ldg(reinterpret_cast<const unsigned short*>(from));
    std::memcpy(&unit, &value, kBytes);
  } else {
    unit.bytes[0] = __ldg(reinterpret_cast<const unsigned char*>(from));
  }
#else
  unit = *reinterpret_cast<const Unit<kBytes>*>(from);
#endif
  return unit;
}

// Writes what is not read again soon: it need not stay in the cache.
template <int kBytes>
TOKFRAG_HOST_DEVICE inline void stream_unit(char* to, const Unit<kBytes>& unit) {
#if defined(__CUDA_ARCH__)
  if constexpr (kBytes == 16) {
    uint4 value;
    std::memcpy(&value, &unit, kBytes);
    __stcs(reinterpret_cast<uint4*>(to), value);
  } else if constexpr (kBytes == 8) {
    uint2 value;
    std::memcpy(&value, &unit, kBytes);
    __stcs(reinterpret_cast<uint2*>(to), value);
  } else if constexpr (kBytes == 4) {
    unsigned int value;
    std::memcpy(&value, &unit, kBytes);
    __stcs(reinterpret_cast<unsigned int*>(to), value);
  } else if constexpr (kBytes == 2) {
    unsigned short value;
    std::memcpy(&value, &unit, kBytes);
    __stcs(reinterpret_cast<unsigned short*>(to), value);
  } else {
    __stcs(reinterpret_cast<unsigned char*>(to), unit.bytes[0]);
  }
#else
  *reinterpret_cast<Unit<kBytes>*>(to) = unit;
#endif
}

// The largest unit that divides every size, stride and address given to it.
class UnitChooser {
 public:
  void divide(std::int64_t value) { bits_ |= static_cast<std::uint64_t>(value); }
  void divide(const void* address) { bits_ |= reinterpret_cast<std::uintptr_t>(address); }
  int unit() const {
    int unit = kMaxUnit;
    while (bits_ % static_cast<std::uint64_t>(unit) != 0) unit /= 2;
    return unit;
  }

 private:
  std::uint64_t bits_ = 0;
};

}  // namespace tokfrag
