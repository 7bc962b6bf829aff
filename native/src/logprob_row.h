// One output's row of log-probabilities in the batch buffers.
#pragma once

#include <cstddef>

#include "batch_buffers.h"
#include "llama.h"

class LogprobRow {
  public:
    // From logits that nothing has changed yet. Writes the `count` most likely tokens behind the row's first place.
    LogprobRow(BatchOutput & batch, int32_t output, const float * logits, int32_t vocabSize, int32_t count);

    // Writes the sampled or scored token in front of them. `logit` is its own among those logits.
    void setToken(llama_token token, float logit);

  private:
    BatchOutput & batch_;
    size_t begin_;
    float normaliser_;
};
