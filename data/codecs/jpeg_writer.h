// Writing JPEG files.
#pragma once

#include <string>

#include "tensor/image/picture.h"

namespace la {

/// A picture as the bytes of a JPEG file, gray or RGB; quality from 1 to 100.
std::string jpeg_of(const Picture& picture, int quality);

}  // namespace la
