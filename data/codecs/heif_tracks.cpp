#include "data/codecs/heif_tracks.h"

#include "data/codecs/boxes.h"
#include "tensor/format.h"

namespace la {
namespace {

/// What a box "stbl" says of the first picture: its place in the file.
struct FirstPicture {
  bool is_av1 = false, has_place = false;
  uint64_t offset = 0;
  uint64_t size_of_all = 0, size = 0;  // in bytes; the first, if it is not 0, holds for every picture
};

void read_descriptions(BoxReader reader, FirstPicture& first) {
  reader.take(4);
  for (uint64_t count = reader.number(4); count > 0; --count)
    if (reader.box().type == "av01") first.is_av1 = true;
}

void read_offsets(BoxReader reader, size_t bytes, FirstPicture& first) {
  reader.take(4);
  if (reader.number(4) == 0 || first.has_place) return;
  first.offset = reader.number(bytes);
  first.has_place = true;
}

void read_sizes(BoxReader reader, FirstPicture& first) {
  reader.take(4);
  const uint64_t size_of_all = reader.number(4), count = reader.number(4);
  if (size_of_all > 0)
    first.size_of_all = size_of_all;
  else if (count > 0 && first.size == 0)
    first.size = reader.number(4);
}

void read_sample_table(Bytes file, Bytes table, std::vector<Bytes>& pictures) {
  FirstPicture first;
  for (BoxReader reader(table); !reader.done();) {
    const BoxReader::Box box = reader.box();
    if (box.type == "stsd") read_descriptions(BoxReader(box.content), first);
    if (box.type == "stco") read_offsets(BoxReader(box.content), 4, first);
    if (box.type == "co64") read_offsets(BoxReader(box.content), 8, first);
    if (box.type == "stsz") read_sizes(BoxReader(box.content), first);
  }
  const uint64_t size = first.size_of_all > 0 ? first.size_of_all : first.size;
  if (!first.is_av1 || !first.has_place || first.offset > file.size() || size > file.size() - first.offset)
    return;
  constexpr size_t most_tracks = 64;  // which may share their pictures, and would take long to look through
  if (pictures.size() == most_tracks)
    throw BadPicture(formatted("it has more than {} sequences of pictures, which is not read", most_tracks));
  pictures.push_back(file.subspan(static_cast<size_t>(first.offset), static_cast<size_t>(size)));
}

/// Calls f(content) for each box within `boxes` that has the first of the types, or in one of those the next.
template <class F>
void for_each_box(Bytes boxes, std::span<const std::string_view> types, F f) {
  if (types.empty()) return f(boxes);
  for (BoxReader reader(boxes); reader.has_box();) {
    const BoxReader::Box box = reader.box();
    if (box.type == types[0]) for_each_box(box.content, types.subspan(1), f);
  }
}

}  // namespace

std::vector<Bytes> first_av1_pictures(Bytes file) {
  constexpr std::string_view types[] = {"moov", "trak", "mdia", "minf", "stbl"};
  std::vector<Bytes> pictures;
  for_each_box(file, types, [&](Bytes table) { read_sample_table(file, table, pictures); });
  return pictures;
}

}  // namespace la
