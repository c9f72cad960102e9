// How much the last level of this processor's cache holds.
#pragma once

#include <cstdint>

namespace tokfrag {

// In bytes; where the system does not say, what most processors have at least.
std::int64_t last_level_cache_bytes();

}  // namespace tokfrag
