// The formats that dataset.cpp knows, and what their readers share.
#pragma once

#include "data/dataset.h"
#include "tensor/io/file_reader.h"
#include "tensor/io/files.h"

namespace la {

DataSource open_idx(const DataOptions& options);
DataSource open_cifar10(const DataOptions& options);
DataSource open_cifar100(const DataOptions& options);
DataSource open_stl10(const DataOptions& options);
DataSource open_places205(const DataOptions& options);
/// Picture files, in train/ and val/ of the folder if it has both.
DataSource open_folder(const DataOptions& options);

/// Pictures whose channels follow one another as planes, as u8 [N, H, W, C]. columns_first: each plane is
/// stored column by column.
void interleave(const uint8_t* planes, int64_t channels, int64_t height, int64_t width, bool columns_first,
                uint8_t* to);

}  // namespace la
