#include "core/cache_size.hpp"

#include <unistd.h>

#include <algorithm>
#include <initializer_list>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace tokfrag {

namespace {

constexpr std::int64_t kUnknown = std::int64_t{8} << 20;

std::int64_t asked() {
  std::int64_t bytes = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  for (const int level : {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE}) {
    bytes = std::max<std::int64_t>(bytes, sysconf(level));
  }
#elif defined(__APPLE__)
  std::size_t size = sizeof(bytes);
  if (sysctlbyname("hw.l2cachesize", &bytes, &size, nullptr, 0) != 0) bytes = 0;
#endif
  return bytes > 0 ? bytes : kUnknown;
}

}  // namespace

std::int64_t last_level_cache_bytes() {
  static const std::int64_t bytes = asked();
  return bytes;
}

}  // namespace tokfrag
