// The work of one thread: the features of the windows of one (batch, channel) at a time.
#pragma once

#include <cstdint>

#include "fragments/features/direct.hpp"
#include "fragments/features/levels.hpp"
#include "fragments/features/plan.hpp"
#include "fragments/features/series.hpp"

namespace tokfrag {

class FeatureWorker {
 public:
  explicit FeatureWorker(const FeaturePlan& plan);

  // Windows [first, last) of axis 0, and all of the others.
  void run(std::int64_t batch, std::int64_t channel, std::int64_t first, std::int64_t last);

 private:
  void finish(std::int64_t first, const double* sums, std::int64_t count);
  void redo_poor(std::int64_t first, const double* sums, std::int64_t count);
  void* place(std::int64_t window) const;
  void write_direct(std::int64_t window);

  const FeaturePlan& plan_;
  const FeatureTask& task_;
  DirectFeatures direct_;
  SeriesSums series_;
  LevelSums levels_;
  const char* data_ = nullptr;
  std::int64_t batch_ = 0;
  std::int64_t channel_ = 0;
};

}  // namespace tokfrag
