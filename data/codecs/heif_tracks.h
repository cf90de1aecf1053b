// The tracks of a file of ISO/IEC 14496-12: sequences of pictures.
#pragma once

#include "data/codecs/codec.h"

namespace la {

/// The bytes of the first picture of each track that is coded as AV1. A BadPicture if a box goes beyond its
/// end; a track whose first picture lies beyond the end of the file is passed over.
std::vector<Bytes> first_av1_pictures(Bytes file);

}  // namespace la
