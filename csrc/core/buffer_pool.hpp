// Large blocks that outputs gave back, kept for the next output of about that size.
//
// A fresh block costs its page faults again, more than most kernels cost. What is kept is marked
// as free for the system to take when it needs memory, and is bounded: TOKFRAG_WORKSPACE_MB in the
// environment, 512 by default; 0 keeps nothing.
#pragma once

#include <cstdint>

#include "core/huge_buffer.hpp"

namespace tokfrag {

// A block of at least `bytes`, 64-byte aligned, with any contents. Throws std::bad_alloc.
HugeBuffer take_buffer(std::int64_t bytes);

// Gives a block back. Never fails, never waits.
void give_buffer(HugeBuffer buffer) noexcept;

// Hands all that is kept back to the system; returns how many bytes that was.
std::int64_t release_buffers() noexcept;

}  // namespace tokfrag
