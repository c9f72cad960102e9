// Documents into rows of one length: which piece of which document lies where, and the rows filled.
//
// best_fit and first_fit take documents from the longest down, ties in their own order: best_fit
// puts each into the row with the least room that still holds it (the oldest of these), first_fit
// into the oldest row that holds it. in_order cuts the documents, end to end, at every `length`.
// Inside a row pieces stand in the order of their documents. Twin: tokfrag.reference.packing.
#pragma once

#include <cstdint>
#include <vector>

namespace tokfrag {

// How ids are stored.
enum class IdType : std::int32_t { kUint16, kUint32, kInt32, kInt64 };
enum class PackMethod : std::int32_t { kBestFit, kFirstFit, kInOrder };

// The longest row: best_fit keeps a table of one entry a place.
constexpr std::int64_t kLongestRow = std::int64_t{1} << 24;

// Piece p is `length[p]` ids of document `document[p]`, from its id `begin[p]` on; row r holds the
// pieces row_begin[r] to row_begin[r + 1], end to end from its first place.
struct PackPlan {
  std::vector<std::int64_t> document;
  std::vector<std::int64_t> begin;
  std::vector<std::int64_t> length;
  std::vector<std::int64_t> row_begin;
};

// `lengths`: `count` of them, each in [0, length] unless the method is in_order. Empty documents
// have no piece. Rows come in an order drawn from `seed`, but for in_order. O(count) and a
// logarithm for first_fit; polls for Ctrl-C.
PackPlan plan_packing(const std::int64_t* lengths, std::int64_t count, std::int64_t length,
                      PackMethod method, std::uint64_t seed);

// What the rows of a plan are filled with, and where to; row r begins at place r * length.
struct PackTask {
  const PackPlan* plan;
  std::int64_t length;
  const std::int64_t* offsets;  // where each document begins among `values`
  IdType type;                  // of values
  const void* values;
  std::int64_t pad;
  IdType out_type;  // kInt32 or kInt64
  void* out;
};

// Copies the ids and fills what is left of each row with `pad`.
void fill_rows(const PackTask& task, int threads);

// For each place: its position in its piece (padding counts from 0 too), its document (-1:
// padding).
void fill_places(const PackPlan& plan, std::int64_t length, std::int64_t* positions,
                 std::int32_t* documents, bool* kept, int threads);

}  // namespace tokfrag
