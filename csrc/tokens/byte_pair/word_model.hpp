// What turns words into ids where that is not the merging of bytes: the encoder's caches, threads
// and cutting around another model.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/byte_pair/token_buffer.hpp"

namespace tokfrag {

class Encoder;
struct Worker;

// Bytes that one token, or several that stand for one run of characters, cover.
struct Span {
  std::int64_t begin;
  std::int64_t end;
};

class WordModel {
 public:
  static constexpr std::int64_t kWholePiece = -1;
  // Longer pieces, in bytes, are not encoded by parts where cuts_pieces() is false.
  static constexpr std::int64_t kLongestParted = 1 << 20;

  virtual ~WordModel() = default;

  // Writes the ids of a word (at most one a byte) and returns how many: of a whole piece, or (part)
  // of a part of one, out of which no token reaches. kWholePiece: of such a part the ids cannot be
  // told without the rest of its piece.
  virtual std::int64_t encode_word(const Encoder& encoder, const std::uint8_t* text,
                                   std::int64_t length, bool part, Worker& worker,
                                   std::uint32_t* ids) const = 0;

  // Appends the ids of a piece of any length and, if asked for, what each of them covers.
  virtual void encode_piece(const Encoder& encoder, const std::uint8_t* text, std::int64_t length,
                            Worker& worker, TokenBuffer* ids, std::vector<Span>* spans) const = 0;

  // Whether parts of pieces may be encoded, and remembered, by themselves.
  virtual bool takes_parts() const = 0;

  // Whether a text may be cut inside a piece, where no token spans the cut, without changing ids.
  virtual bool cuts_pieces() const = 0;
};

}  // namespace tokfrag
