// Detail: what pictures that lie over one another have in common besides their outline.
#pragma once

#include "evaluation/plane.h"

namespace la {

/// How far the detail of one of two planes of a size is that of the other, from 0 to 1: detail is what lies between
/// Gaussian blurs of 1 and 3 pixels. Of the one it is the multiple correlation with the brightness of the other, its
/// square and its second derivative; of both ways, as which is the darker or more blurred print is not known, the
/// larger. 0 where one is a negative of the other.
float correlation_of_detail(const Plane& a, const Plane& b);

}  // namespace la
