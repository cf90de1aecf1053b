// A collapse in words: what is seen, what is usual, and what to change. The bounds lie between what healthy trainings show and what
// provoked collapses do (docs/run-folder.md).
#pragma once

#include <cstdint>
#include <string>

#include "evaluation/health.h"
#include "la/neighborhoods.h"

namespace la {

/// Before so many steps of a run, nothing can be said; and of the loss before the network has seen so many pictures, for at first it
/// rises above that of guessing: with 600 pictures it was below again after 2,560.
constexpr int64_t steps_before_judgment = 50, pictures_before_loss_is_judged = 4000;

/// Each says it of one kind of collapse, or is empty.

/// The vectors lie at one point, or along a few of D directions.
std::string collapse_of(const Spread& spread, int64_t dim);
/// One cluster has nearly all of the pictures.
std::string collapse_of(const ClusterSizes& sizes, int64_t pictures);
/// Nearly all of the background is close, so that L(C_i, B_i) is 0 whatever the embeddings are.
std::string collapse_of(const Neighborhoods& neighborhoods);
/// loss: of instance recognition by the full softmax, which is log N where P(i | v) = 1 / N.
std::string collapse_of(double loss, int64_t pictures);

}  // namespace la
