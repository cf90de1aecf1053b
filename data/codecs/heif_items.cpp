#include "data/codecs/heif_items.h"

#include <algorithm>
#include <map>
#include <set>

namespace la {
namespace {

/// Reads numbers, most significant byte first, and boxes; a BadPicture beyond the end.
class Reader {
 public:
  explicit Reader(Bytes bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }
  Bytes take(uint64_t count) {
    if (count > rest_.size()) throw BadPicture("it cannot be decoded: a box goes beyond its end");
    const Bytes taken = rest_.first(static_cast<size_t>(count));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  uint64_t number(size_t bytes) {
    uint64_t value = 0;
    for (const uint8_t byte : take(bytes)) value = value << 8 | byte;
    return value;
  }
  std::string text(size_t bytes) {
    const Bytes taken = take(bytes);
    return {taken.begin(), taken.end()};
  }

  /// Whether a box could begin here: behind the last one, some cameras append what is none.
  bool has_box() const {
    if (rest_.size() < 8) return false;
    const uint64_t size = Reader(rest_).number(4);
    return size <= 1 || (size >= 8 && size <= rest_.size());
  }

  struct Box {
    std::string type;
    Bytes content;
  };
  Box box() {
    uint64_t size = number(4), header = 8;
    const std::string type = text(4);
    if (size == 1) {
      size = number(8);
      header = 16;
    }
    if (size == 0) return {type, take(rest_.size())};
    if (size < header) throw BadPicture("it cannot be decoded: a box is smaller than its header");
    return {type, take(size - header)};
  }

 private:
  Bytes rest_;
};

using ItemId = uint64_t;

struct Size {
  int64_t height, width;
  bool operator==(const Size&) const = default;
};

/// What the box "meta" says of the items.
class Items {
 public:
  Items(Bytes file, Bytes meta) : file_(file) {
    Reader reader(meta);
    reader.take(4);  // version and flags
    std::map<std::string, Bytes> boxes;
    while (!reader.done()) {
      const Reader::Box box = reader.box();
      boxes.emplace(box.type, box.content);
    }
    const auto read = [&](const char* type, void (Items::*parse)(Reader)) {
      if (const auto found = boxes.find(type); found != boxes.end()) (this->*parse)(Reader(found->second));
    };
    if (const auto found = boxes.find("idat"); found != boxes.end()) inside_ = found->second;
    read("iinf", &Items::read_types);
    read("iloc", &Items::read_places);
    read("iref", &Items::read_references);
    read("iprp", &Items::read_properties);
  }

  void check(const PixelLimit& limit) const {
    for (const auto& [item, type] : types_) {
      if (type == "iden" || type == "iovl")
        throw BadPicture(fmt::format("it has a picture derived as \"{}\", which is not read", type));
      if (type == "grid") check_grid(item, limit);
    }
    for (const auto& [item, masters] : masters_) {
      const auto type = types_.find(item);
      if (type == types_.end() || !(is_coded(type->second) || type->second == "grid"))
        throw BadPicture("it cannot be decoded: an auxiliary picture is no picture");
      for (const ItemId master : masters)
        if (masters_.contains(master))
          throw BadPicture("it cannot be decoded: an auxiliary picture has one itself");
    }
    for (const auto& [item, size] : sizes_) limit.check(size.height, size.width);
  }

 private:
  static bool is_coded(const std::string& type) { return type == "hvc1" || type == "av01" || type == "jpeg"; }

  void read_types(Reader reader) {
    const uint64_t version = reader.number(1);
    reader.take(3);
    reader.number(version == 0 ? 2 : 4);  // how many
    while (!reader.done()) {
      const Reader::Box box = reader.box();
      Reader entry(box.content);
      const uint64_t kind = entry.number(1);
      if (box.type != "infe" || kind < 2) continue;
      entry.take(3);
      const ItemId item = entry.number(kind == 2 ? 2 : 4);
      entry.take(2);
      types_[item] = entry.text(4);
    }
  }

  /// Of each item its bytes, if they are in one piece.
  void read_places(Reader reader) {
    const uint64_t version = reader.number(1);
    reader.take(3);
    const uint64_t sizes = reader.number(2);
    const size_t offset_bytes = sizes >> 12 & 15, length_bytes = sizes >> 8 & 15,
                 base_bytes = sizes >> 4 & 15, index_bytes = version > 0 ? sizes & 15 : 0;
    const uint64_t count = reader.number(version < 2 ? 2 : 4);
    for (uint64_t i = 0; i < count; ++i) {
      const ItemId item = reader.number(version < 2 ? 2 : 4);
      const uint64_t method = version > 0 ? reader.number(2) & 15 : 0;
      reader.take(2);
      const uint64_t base = reader.number(base_bytes), extents = reader.number(2);
      for (uint64_t e = 0; e < extents; ++e) {
        reader.take(index_bytes);
        const uint64_t offset = base + reader.number(offset_bytes), length = reader.number(length_bytes);
        const Bytes all = method == 0 ? file_ : inside_;
        if (extents == 1 && method < 2 && offset <= all.size() && length <= all.size() - offset)
          contents_[item] = all.subspan(static_cast<size_t>(offset), static_cast<size_t>(length));
      }
    }
  }

  void read_references(Reader reader) {
    const size_t id_bytes = reader.number(1) == 0 ? 2 : 4;
    reader.take(3);
    while (!reader.done()) {
      const Reader::Box box = reader.box();
      Reader entry(box.content);
      const ItemId from = entry.number(id_bytes);
      const uint64_t count = entry.number(2);
      for (uint64_t i = 0; i < count; ++i) {
        const ItemId to = entry.number(id_bytes);
        if (box.type == "dimg") parts_[from].push_back(to);
        if (box.type == "auxl") masters_[from].insert(to);
      }
    }
  }

  void read_properties(Reader reader) {
    std::map<uint64_t, Size> sizes;  // of the property's number, from 1
    std::vector<Bytes> associations;
    while (!reader.done()) {
      const Reader::Box box = reader.box();
      if (box.type == "ipma") associations.push_back(box.content);
      if (box.type != "ipco") continue;
      Reader properties(box.content);
      for (uint64_t number = 1; !properties.done(); ++number) {
        const Reader::Box property = properties.box();
        if (property.type != "ispe") continue;
        Reader size(property.content);
        size.take(4);
        const auto width = static_cast<int64_t>(size.number(4)),
                   height = static_cast<int64_t>(size.number(4));
        sizes[number] = {height, width};
      }
    }
    for (const Bytes content : associations) {
      Reader entries(content);
      const uint64_t version = entries.number(1), flags = entries.number(3), count = entries.number(4);
      for (uint64_t i = 0; i < count; ++i) {
        const ItemId item = entries.number(version < 1 ? 2 : 4);
        for (uint64_t left = entries.number(1); left > 0; --left) {
          const bool wide = (flags & 1) != 0;
          const uint64_t number =
              entries.number(wide ? 2 : 1) & (wide ? 0x7fff : 0x7f);  // without "essential"
          if (const auto found = sizes.find(number); found != sizes.end())
            sizes_.emplace(item, found->second);
        }
      }
    }
  }

  void check_grid(ItemId item, const PixelLimit& limit) const {
    const auto content = contents_.find(item);
    const auto tiles = parts_.find(item);
    if (content == contents_.end() || tiles == parts_.end())
      throw BadPicture("it cannot be decoded: a grid has no tiles");
    Reader reader(content->second);
    reader.take(1);
    const size_t bytes = (reader.number(1) & 1) != 0 ? 4 : 2;
    const auto rows = static_cast<int64_t>(reader.number(1)) + 1,
               columns = static_cast<int64_t>(reader.number(1)) + 1,
               width = static_cast<int64_t>(reader.number(bytes)),
               height = static_cast<int64_t>(reader.number(bytes));
    limit.check(height, width);
    if (static_cast<int64_t>(tiles->second.size()) != rows * columns)
      throw BadPicture(fmt::format("it cannot be decoded: a grid of {} x {} has {} tiles", columns, rows,
                                   tiles->second.size()));
    const Size* first = nullptr;
    for (const ItemId tile : tiles->second) {
      const auto type = types_.find(tile);
      const auto size = sizes_.find(tile);
      if (type == types_.end() || !is_coded(type->second) || size == sizes_.end())
        throw BadPicture("it cannot be decoded: a tile of a grid is no coded picture");
      if (first == nullptr) first = &size->second;
      if (*first != size->second)
        throw BadPicture("it cannot be decoded: the tiles of a grid differ in size");
    }
    if (columns * first->width < width || rows * first->height < height)
      throw BadPicture("it cannot be decoded: the tiles of a grid do not cover it");
  }

  Bytes file_, inside_;
  std::map<ItemId, std::string> types_;
  std::map<ItemId, Bytes> contents_;
  std::map<ItemId, std::vector<ItemId>> parts_;  // of derived pictures
  std::map<ItemId, std::set<ItemId>> masters_;   // of auxiliary pictures: what they belong to
  std::map<ItemId, Size> sizes_;
};

}  // namespace

void check_heif_items(Bytes file, const PixelLimit& limit) {
  for (Reader reader(file); reader.has_box();) {
    const Reader::Box box = reader.box();
    if (box.type == "meta") Items(file, box.content).check(limit);
  }
}

}  // namespace la
