// The mutable state of encoding (word caches, scratch), lent to one thread at a time, so that the
// encoder itself is immutable and may be shared by any number of threads.
//
// A pool keeps its workers, warm caches and all, from one call to the next. After fork the child
// drops what other threads of the parent may have been changing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "tokens/byte_pair/merge.hpp"
#include "tokens/byte_pair/piece_memory.hpp"
#include "tokens/byte_pair/token_buffer.hpp"
#include "tokens/byte_pair/word_cache.hpp"
#include "tokens/text/text.hpp"

namespace tokfrag {

// The best path that ends at a place of a text: what unigram models keep while they encode.
struct PathNode {
  double score;
  std::uint32_t token;   // as the model numbers what the path ends with
  std::uint32_t length;  //   and how many bytes that is; 0: no path ends here
};

struct Worker {
  void tables(WordTables* tables) const {
    cache.tables(tables);
    long_words.tables(tables);
  }

  WordCache cache;
  LongWordCache long_words;
  PieceMemory pieces;
  SeenWords seen;
  MergeScratch merge;
  std::vector<PathNode> path;
  TokenBuffer ids;
  Utf8Scratch text;
  std::vector<std::int64_t> row_ends;
};

class WorkerPool {
 public:
  WorkerPool();
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Returns its worker to the pool when it goes out of scope.
  class Lease {
   public:
    Lease(Lease&& other) noexcept;
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Lease& operator=(Lease&&) = delete;
    Worker& operator*() const { return *worker_; }
    Worker* operator->() const { return worker_; }

   private:
    friend class WorkerPool;
    Lease(Worker* worker, std::atomic<int>* state);
    Worker* worker_;
    std::atomic<int>* state_;  // null: the lease owns the worker
    int forks_;                // before it was lent
  };

  // A free worker; where all stay busy for long (more threads than processors, or a signal handler
  // that encodes), one of its own.
  Lease acquire();

 private:
  struct Slot {
    std::atomic<int> state{0};  // 0: free, 1: lent
    std::unique_ptr<Worker> worker;
  };

  // After a fork, before anything is lent: a worker lent at the fork belonged to a thread that does
  // not exist here and may be half written, so it is dropped, not freed.
  void drop_lent_before_fork();

  std::vector<Slot> slots_;
  std::atomic<int> generation_;  // the forks after which slots are in order; ~forks: in work
};

}  // namespace tokfrag
