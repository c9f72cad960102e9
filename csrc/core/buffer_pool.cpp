#include "core/buffer_pool.hpp"

#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#ifndef _WIN32
#include <sys/mman.h>
#endif

namespace tokfrag {

namespace {

constexpr std::int64_t kLeastBytes = std::int64_t{1} << 21;
constexpr std::size_t kMostBlocks = 16;

std::int64_t choose_limit() {
  const char* asked = std::getenv("TOKFRAG_WORKSPACE_MB");
  const long long megabytes = asked != nullptr ? std::atoll(asked) : 512;
  return megabytes > 0 ? std::int64_t{megabytes} << 20 : 0;
}

struct Pool {
  std::mutex mutex;
  std::vector<HugeBuffer> blocks;  // oldest first
  std::int64_t kept = 0;
};

// Leaked on purpose: arrays may die after every static destructor.
Pool& pool() {
  static Pool* const shared = new Pool;
  return *shared;
}

std::int64_t limit() {
  static const std::int64_t bytes = choose_limit();
  return bytes;
}

}  // namespace

HugeBuffer take_buffer(std::int64_t bytes) {
  if (bytes >= kLeastBytes && limit() > 0) {
    Pool& shared = pool();
    // Only ever tried: a fork may have copied the lock while another thread held it.
    const std::unique_lock<std::mutex> lock(shared.mutex, std::try_to_lock);
    if (lock.owns_lock()) {
      for (std::size_t i = shared.blocks.size(); i-- > 0;) {
        const std::int64_t size = shared.blocks[i].size();
        if (size < bytes || size > bytes + bytes / 4) continue;
        HugeBuffer found = std::move(shared.blocks[i]);
        shared.blocks.erase(shared.blocks.begin() + static_cast<std::ptrdiff_t>(i));
        shared.kept -= size;
        return found;
      }
    }
  }
  return HugeBuffer(bytes);
}

void give_buffer(HugeBuffer buffer) noexcept {
  const std::int64_t size = buffer.size();
  if (size < kLeastBytes || size > limit()) return;
  Pool& shared = pool();
  const std::unique_lock<std::mutex> lock(shared.mutex, std::try_to_lock);
  if (!lock.owns_lock()) return;
#ifdef MADV_FREE  // not on Windows, where a kept block stays resident
  madvise(buffer.data(), static_cast<std::size_t>(size), MADV_FREE);
#endif
  while (!shared.blocks.empty() &&
         (shared.kept + size > limit() || shared.blocks.size() >= kMostBlocks)) {
    shared.kept -= shared.blocks.front().size();
    shared.blocks.erase(shared.blocks.begin());
  }
  try {
    shared.blocks.push_back(std::move(buffer));
    shared.kept += size;
  } catch (...) {
    // Not kept, then: the buffer frees itself.
    return;
  }
}

std::int64_t release_buffers() noexcept {
  Pool& shared = pool();
  const std::unique_lock<std::mutex> lock(shared.mutex, std::try_to_lock);
  if (!lock.owns_lock()) return 0;
  shared.blocks.clear();
  return std::exchange(shared.kept, 0);
}

}  // namespace tokfrag
