#include "fragments/window_numbers/window_numbers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/checked.hpp"
#include "core/huge_buffer.hpp"
#include "core/interrupt.hpp"
#include "core/parallel.hpp"
#include "fragments/features/block_cuts.hpp"
#include "fragments/window_numbers/blocks.hpp"
#include "fragments/window_numbers/ranks.hpp"
#include "fragments/window_numbers/sorted_blocks.hpp"

namespace tokfrag {

namespace {

constexpr std::int64_t kChunkPositions = 16384;  // of a series: a row of doubles in the L2 cache
constexpr std::int64_t kGrainValues = 4096;      // about 50 microseconds of work
constexpr double kTurn = 6.283185307179586;

// What is the same in all windows of a call.
struct NumberPlan {
  explicit NumberPlan(const WindowNumberTask& given) : task(given) {
    for (std::int64_t c = 0; c < task.column_count; ++c) {
      const NumberColumn& column = task.columns[c];
      places.push_back(place_of(column));
      const auto wants = [&](WindowNumber number) { return column.number == number; };
      wants_powers = wants_powers || (wants(WindowNumber::kPower) && column.first > 2);
      wants_lines = wants_lines || wants(WindowNumber::kChanges) || wants(WindowNumber::kSteps) ||
                    wants(WindowNumber::kTrend);
      if (wants(WindowNumber::kQuantile)) add_quantile(c, column.parameter);
    }
    for (const std::int64_t k : coefficients) add_tables(k);
    const std::size_t stride = table_size();
    for (std::size_t k = 0; k < coefficients.size(); ++k) {
      const double* table = tables.data() + 4 * k * stride;
      harmonics.push_back({table, table + stride, table + 2 * stride, table + 3 * stride});
    }
  }

  const WindowNumberTask& task;
  std::vector<std::int64_t> places;
  std::vector<std::int64_t> coefficients;
  std::vector<double> levels;
  std::vector<Harmonic> harmonics;
  // A column, where its quantile lies, and which of `ranks` it lies between.
  struct Quantile {
    std::int64_t column;
    QuantilePlace place;
    std::int64_t below;
    std::int64_t above;
  };
  std::vector<Quantile> quantiles;
  std::vector<std::int64_t> ranks;
  bool wants_powers = false;
  bool wants_lines = false;

 private:
  std::int64_t place_of(const NumberColumn& column) {
    switch (column.number) {
      case WindowNumber::kCosine:
      case WindowNumber::kSine:
        return place_in(coefficients, column.first);
      case WindowNumber::kCrossings:
        return place_in(levels, column.parameter);
      default:
        return 0;
    }
  }

  void add_quantile(std::int64_t column, double parameter) {
    const QuantilePlace place(task.axis.size, parameter);
    const std::int64_t below = place_in(ranks, place.rank);
    quantiles.push_back({column, place, below, place_in(ranks, place.next())});
  }

  template <class T>
  static std::int64_t place_in(std::vector<T>& held, T value) {
    const auto at = std::find(held.begin(), held.end(), value) - held.begin();
    if (at == static_cast<std::ptrdiff_t>(held.size())) held.push_back(value);
    return at;
  }

  std::size_t table_size() const {
    return static_cast<std::size_t>(task.axis.size + 1 + kNumberSlack);
  }

  void add_tables(std::int64_t k) {
    const std::int64_t n = task.axis.size;
    const std::size_t begin = tables.size();
    const std::size_t stride = table_size();
    tables.resize(begin + 4 * stride, 0.0);
    double* table = tables.data() + begin;
    for (std::int64_t t = 0; t <= n; ++t) {
      const auto turned = static_cast<double>(k % n * t % n) / static_cast<double>(n);
      const auto at = static_cast<std::size_t>(t);
      table[at] = std::cos(kTurn * turned);
      table[stride + at] = std::sin(kTurn * turned);
      if (t == n) break;
      table[2 * stride + at + 1] = table[2 * stride + at] + table[at];
      table[3 * stride + at + 1] = table[3 * stride + at] + table[stride + at];
    }
  }

  std::vector<double> tables;
};

// The work of one thread: windows of one series at a time.
class NumberWorker {
 public:
  explicit NumberWorker(const NumberPlan& plan)
      : plan_(plan), task_(plan.task), cuts_(task_.axis.size, 1) {}

  void run(std::int64_t batch, std::int64_t channel, std::int64_t first, std::int64_t last) {
    const FeatureAxis& axis = task_.axis;
    const char* data = static_cast<const char*>(task_.x) + batch * task_.batch_stride +
                       channel * task_.channel_stride;
    const std::int64_t from = axis.starts[first];
    load(data, from, axis.starts[last - 1] + axis.size);
    cuts_.cut(axis.starts + first, last - first);
    starts_.assign(axis.starts + first, axis.starts + last);
    for (std::int64_t& start : starts_) start -= from;

    NumberWindowTask windows = {};
    windows.summed = sum_blocks();
    windows.starts = starts_.data();
    windows.first = cuts_.first.data();
    windows.last = cuts_.last.data();
    windows.count = last - first;
    windows.size = axis.size;
    windows.columns = task_.columns;
    windows.places = plan_.places.data();
    windows.column_count = task_.column_count;
    windows.out_step = task_.channels * task_.column_count;
    windows.out =
        task_.out + ((batch * axis.count + first) * task_.channels + channel) * task_.column_count;
    number_kernels().write_windows(windows);
    if (plan_.quantiles.empty()) return;
    if (!find_ranks(windows)) merge_windows(windows);
  }

 private:
  NumberBlockTask sum_blocks() {
    NumberBlockTask blocks = {};
    blocks.y = row_.data();
    blocks.begins = cuts_.begins.data();
    blocks.lengths = cuts_.lengths.data();
    blocks.count = cuts_.blocks();
    blocks.wants_powers = plan_.wants_powers;
    blocks.wants_lines = plan_.wants_lines;
    blocks.harmonics = plan_.harmonics.data();
    blocks.harmonic_count = static_cast<std::int64_t>(plan_.harmonics.size());
    blocks.levels = plan_.levels.data();
    blocks.level_count = static_cast<std::int64_t>(plan_.levels.size());
    blocks_.resize(static_cast<std::size_t>(blocks.count));
    extra_.resize(static_cast<std::size_t>(blocks.count * blocks.extra_width()));
    blocks.blocks = blocks_.data();
    blocks.extra = extra_.data();
    number_kernels().sum_blocks(blocks);
    return blocks;
  }

  // Quantiles of windows that are alike; false if they are not, or of too many blocks.
  bool find_ranks(const NumberWindowTask& windows) {
    const std::int64_t each = windows.last[0] - windows.first[0];
    RankRuns runs = {};
    if (cuts_.common == 0 || cuts_.even < windows.count || !find_runs(each, runs)) return false;
    RankTask task = {};
    task.y = row_.data();
    task.begins = cuts_.begins.data();
    task.length = cuts_.common;
    task.blocks = cuts_.blocks();
    task.each = each;
    task.windows = windows.count;
    task.ranks = plan_.ranks.data();
    task.rank_count = static_cast<std::int64_t>(plan_.ranks.size());
    const std::int64_t room = 8 * rank_room(task.length, task.blocks, runs.first);
    if (rank_room_.size() < room) rank_room_ = HugeBuffer::zeros(room);
    task.room = rank_room_.as<double>();
    const std::int64_t apart = windows.count + kRankSlack;
    by_rank_.resize(static_cast<std::size_t>(task.rank_count * apart));
    task.values = by_rank_.data();
    rank_kernels().find(task);
    for (const NumberPlan::Quantile& quantile : plan_.quantiles) {
      const double* below = task.values + quantile.below * apart;
      const double* above = task.values + quantile.above * apart;
      for (std::int64_t w = 0; w < windows.count; ++w) {
        write_quantile(windows, w, quantile, below[w], above[w]);
      }
    }
    return true;
  }

  void merge_windows(const NumberWindowTask& windows) {
    sorted_.sort(windows.summed.y, windows.summed.begins, windows.summed.lengths,
                 windows.summed.count);
    for (std::int64_t w = 0; w < windows.count; ++w) {
      const double* values = sorted_.merged(windows.first[w], windows.last[w]);
      for (const NumberPlan::Quantile& quantile : plan_.quantiles) {
        constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
        const double below = values == nullptr ? kNone : values[quantile.place.rank];
        const double above = values == nullptr ? kNone : values[quantile.place.next()];
        write_quantile(windows, w, quantile, below, above);
      }
    }
  }

  // Every NaN is the same one.
  static void write_quantile(const NumberWindowTask& windows, std::int64_t w,
                             const NumberPlan::Quantile& quantile, double below, double above) {
    const double value = quantile_between(below, above, quantile.place.share);
    windows.out[w * windows.out_step + quantile.column] =
        std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
  }

  // The values at padded positions [from, to), as doubles, and zeros after them.
  void load(const char* data, std::int64_t from, std::int64_t to) {
    const FeatureAxis& axis = task_.axis;
    const auto read = feature_kernels().load[static_cast<int>(task_.type)];
    row_.resize(static_cast<std::size_t>(to - from + kNumberSlack));
    std::fill(row_.end() - kNumberSlack, row_.end(), 0.0);
    const std::int64_t inside = std::min(to, axis.length);
    if (inside > from) read(data + from * axis.stride, axis.stride, inside - from, 0, row_.data());
    for (std::int64_t p = std::max(inside, from); p < to; ++p) {
      double& value = row_[static_cast<std::size_t>(p - from)];
      const std::int64_t source = source_position(axis.length, task_.pad_mode, p);
      value = task_.pad_value;
      if (source != kNoSource) read(data + source * axis.stride, axis.stride, 1, 0, &value);
    }
  }

  const NumberPlan& plan_;
  const WindowNumberTask& task_;
  BlockCuts cuts_;
  SortedBlocks sorted_;
  HugeBuffer rank_room_;
  std::vector<double> by_rank_;
  std::vector<std::int64_t> starts_;
  std::vector<double> row_, extra_;
  std::vector<NumberBlock> blocks_;
};

}  // namespace

void window_numbers(const WindowNumberTask& task, int threads) {
  const FeatureAxis& axis = task.axis;
  if (axis.count == 0 || task.column_count == 0) return;
  const NumberPlan plan(task);
  // Chunks of windows are always alike, whatever the threads: their blocks are.
  const std::int64_t stride =
      axis.count > 1 ? std::max<std::int64_t>(axis.starts[1], 1) : axis.size;
  const std::int64_t positions = std::max(kChunkPositions, 8 * axis.size);
  const std::int64_t chunk = std::max<std::int64_t>(1, (positions - axis.size) / stride + 1);
  const std::int64_t chunks = (axis.count + chunk - 1) / chunk;
  const std::int64_t series = checked_multiply(task.batch, task.channels);
  const std::int64_t items = checked_multiply(series, chunks);
  const std::int64_t item_values = std::min(chunk, axis.count) * std::min(stride, axis.size);
  const std::int64_t grain = kGrainValues / std::max<std::int64_t>(item_values, 1);
  parallel_for(items, grain, threads, [&](std::int64_t begin, std::int64_t end, int) {
    NumberWorker worker(plan);
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item / chunks;
      const std::int64_t first = item % chunks * chunk;
      worker.run(row / task.channels, row % task.channels, first,
                 std::min(axis.count, first + chunk));
      poll_interrupt();
    }
  });
}

}  // namespace tokfrag
