// Random vocabularies on any bytes: what is encoded decodes to the same, counts are lengths, a
// batch is its texts one by one, dropout loses nothing.
#include "models.hpp"
#include "tokens/byte_pair/dropout.hpp"

namespace {

using tokfrag::TokenBuffer;

std::string decoded(const tokfrag::Model& model, const TokenBuffer& ids) {
  const std::int64_t size = model.decoder().measure(ids.data(), ids.size());
  fuzz::check(size >= 0, "every id is known");
  std::string bytes(static_cast<std::size_t>(size), 0);
  auto* const out = reinterpret_cast<std::uint8_t*>(bytes.data());
  fuzz::check(model.decoder().write(ids.data(), ids.size(), out, size), "decoding fits");
  return bytes;
}

bool same(const TokenBuffer& a, const TokenBuffer& b) {
  return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const tokfrag::Model model = fuzz::make_model(input);
  const std::int64_t shift = input.below(65);
  const fuzz::Exact text(input.rest(), input.left(), shift);
  const tokfrag::Utf8 utf8{text.data(), input.left()};
  const std::string wanted(reinterpret_cast<const char*>(text.data()),
                           static_cast<std::size_t>(input.left()));
  const tokfrag::WorkerPool::Lease worker = model.encoder().workers().acquire();
  TokenBuffer ids;
  model.encode(utf8, {}, *worker, &ids);
  fuzz::check(decoded(model, ids) == wanted, "decoding undoes encoding");
  fuzz::check(model.count(utf8, *worker) == ids.size(), "a count is a length");
  TokenBuffer special;
  model.encode(utf8, {true, nullptr}, *worker, &special);
  fuzz::check(decoded(model, special) == wanted, "decoding undoes encoding with special tokens");

  std::vector<tokfrag::Text> texts(3, {text.data(), input.left(), 0});
  texts.push_back({text.data(), input.left(), 1});  // the same bytes as Latin-1
  std::vector<std::int64_t> offsets(texts.size() + 1);
  const TokenBuffer batch = model.encode_batch(texts, {}, 2, offsets.data());
  for (std::size_t i = 0; i < 3; ++i) {
    fuzz::check(offsets[i + 1] - offsets[i] == ids.size() &&
                    std::equal(ids.data(), ids.data() + ids.size(), batch.data() + offsets[i]),
                "a batch is its texts");
  }
  const std::vector<std::uint64_t> streams{0, 1, 2, 3};
  const TokenBuffer dropped =
      tokfrag::encode_with_dropout(model, texts, {}, streams.data(), {0.3, 5}, 1, offsets.data());
  TokenBuffer first;
  first.reserve_more(offsets[1]);
  std::copy(dropped.data(), dropped.data() + offsets[1], first.data());
  first.set_size(offsets[1]);
  fuzz::check(decoded(model, first) == wanted, "dropout loses nothing");
  fuzz::check(same(ids, model.encode_long(utf8, {}, 2)), "threads change nothing");
  return 0;
}
