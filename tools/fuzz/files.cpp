// What is read from files: any bytes give an exception of ours or something sound to use.
#include <stdexcept>

#include "models.hpp"
#include "tokens/byte_pair/archive.hpp"
#include "tokens/byte_pair/tiktoken_file.hpp"
#include "tokens/training/packed_runs.hpp"

namespace {

void read_archive(fuzz::Input& input) {
  const tokfrag::Model model = fuzz::make_model(input);
  struct {
    const tokfrag::Vocabulary& vocabulary;
    const tokfrag::PairTable& pairs;
    const tokfrag::JoinFilter& joins;
  } const view{model.encoder().vocabulary(), model.encoder().pairs(), model.encoder().joins()};
  tokfrag::ArchiveWriter writer;
  tokfrag::Tables::fields(writer, view);
  std::string bytes = writer.finish();
  // Some places hold other numbers, and the checksum fits all the same: a maker with intent.
  const std::int64_t changes = input.below(4);
  for (std::int64_t i = 0; i < changes; ++i) {
    const std::int64_t at = input.below(1 << 16) * 65536 + input.below(1 << 16);
    const std::uint8_t value = input.byte();
    const auto place = static_cast<std::size_t>(at) % (bytes.size() - 8);
    bytes[place] = static_cast<char>(value);
  }
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const auto body = static_cast<std::int64_t>(bytes.size()) - 8;
  const std::uint64_t sum = tokfrag::checksum(data, body);
  std::memcpy(bytes.data() + body, &sum, 8);
  const fuzz::Exact exact(reinterpret_cast<const std::uint8_t*>(bytes.data()), body + 8);
  tokfrag::ArchiveReader reader(exact.data(), body + 8);
  tokfrag::Tables tables;
  tokfrag::Tables::fields(reader, tables);
  reader.expect_end();
  if (!tables.are_sound()) return;
  const tokfrag::Model read(std::move(tables), true, tokfrag::PatternFamily::kCl100k, {});
  const tokfrag::WorkerPool::Lease worker = read.encoder().workers().acquire();
  tokfrag::TokenBuffer ids;
  read.encode({input.rest(), input.left()}, {}, *worker, &ids);
}

void read_words(const std::uint8_t* data, std::int64_t size) {
  const fuzz::Exact exact(data, size);
  const std::string_view packed(reinterpret_cast<const char*>(exact.data()),
                                static_cast<std::size_t>(size));
  const tokfrag::WordTable table = tokfrag::unpack_words(packed);
  const std::string again = tokfrag::pack_words(table);
  fuzz::check(tokfrag::pack_words(tokfrag::unpack_words(again)) == again,
              "packing undoes unpacking");
  std::int64_t words = 0;
  tokfrag::merge_runs({packed, packed}, [&](const tokfrag::WordTable::Word&) { ++words; });
  fuzz::check(words == table.size(), "two equal runs are one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::int64_t kind = input.below(3);
  try {
    if (kind == 0) {
      read_archive(input);
    } else if (kind == 1) {
      read_words(input.rest(), input.left());
    } else {
      const fuzz::Exact exact(input.rest(), input.left());
      tokfrag::parse_tiktoken(
          {reinterpret_cast<const char*>(exact.data()), static_cast<std::size_t>(input.left())});
    }
  } catch (const std::invalid_argument&) {
    return 0;  // refused
  } catch (const std::overflow_error&) {
    return 0;  // counts of 2**63
  }
  return 0;
}
