#include "bindings/bindings.hpp"

PYBIND11_MODULE(_core, module) {
  tokfrag::bind_core(module);
  tokfrag::bind_added_tokens(module);
  tokfrag::bind_arrow(module);
  tokfrag::bind_tokens(module);
  tokfrag::bind_spans(module);
  tokfrag::bind_live(module);
  tokfrag::bind_formats(module);
  tokfrag::bind_training(module);
  tokfrag::bind_wordpiece(module);
  tokfrag::bind_writing(module);
  tokfrag::bind_unigram(module);
  tokfrag::bind_fragments(module);
  tokfrag::bind_conversion(module);
  tokfrag::bind_features(module);
  tokfrag::bind_segments(module);
  tokfrag::bind_stitching(module);
  tokfrag::bind_sparse(module);
  tokfrag::bind_stream(module);
}
