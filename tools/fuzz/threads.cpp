// For the thread sanitizer: one model, many threads that encode, count and decode at once.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "models.hpp"

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 5;
  std::uint8_t bytes[256];
  for (int i = 0; i < 256; ++i) bytes[i] = static_cast<std::uint8_t>(i * 37 + 11);
  fuzz::Input input(bytes, sizeof bytes);
  const tokfrag::Model model = fuzz::make_model(input);
  std::string text;
  for (int i = 0; i < 20000; ++i) text += " word" + std::to_string(i * 7919 % 1000);
  const tokfrag::Text one{text.data(), static_cast<std::int64_t>(text.size()), 0};
  const std::vector<tokfrag::Text> texts(4, one);
  const tokfrag::Utf8 utf8{reinterpret_cast<const std::uint8_t*>(text.data()), one.length};
  const std::int64_t wanted = model.count_long(utf8, 1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::atomic<std::int64_t> rounds{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&, thread] {
      while (std::chrono::steady_clock::now() < end) {
        std::vector<std::int64_t> offsets(texts.size() + 1);
        const tokfrag::TokenBuffer ids =
            model.encode_batch(texts, {}, 1 + thread % 3, offsets.data());
        fuzz::check(ids.size() == 4 * wanted, "a batch has the ids of its texts");
        fuzz::check(model.count_long(utf8, 2) == wanted, "counts agree");
        const std::int64_t size = model.decoder().measure(ids.data(), ids.size());
        fuzz::check(size == 4 * utf8.size, "decoding gives as many bytes");
        rounds.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%s: %lld rounds\n", argv[0], static_cast<long long>(rounds.load()));
  return 0;
}
