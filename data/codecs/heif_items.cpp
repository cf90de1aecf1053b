#include "data/codecs/heif_items.h"

#include <algorithm>
#include <map>
#include <set>

#include "data/codecs/boxes.h"
#include "data/codecs/coded_size.h"
#include "tensor/format.h"

namespace la {
namespace {

using ItemId = uint64_t;

struct Size {
  int64_t height, width;
  bool operator==(const Size&) const = default;
};

/// A box of "ipco", which items share, and what it says of sizes.
struct Property {
  std::string type;
  Size size{};         // "ispe"
  CodedSizes coded{};  // "hvcC" and "av1C"
};

/// What the box "meta" says of the items.
class Items {
 public:
  Items(Bytes file, Bytes meta, const PixelLimit& limit) : limit_(limit), file_(file) {
    BoxReader reader(meta);
    reader.take(4);  // version and flags
    std::map<std::string, Bytes> boxes;
    while (!reader.done()) {
      const BoxReader::Box box = reader.box();
      boxes.emplace(box.type, box.content);
    }
    const auto read = [&](const char* type, void (Items::*parse)(BoxReader)) {
      if (const auto found = boxes.find(type); found != boxes.end()) (this->*parse)(BoxReader(found->second));
    };
    if (const auto found = boxes.find("idat"); found != boxes.end()) inside_ = found->second;
    read("iinf", &Items::read_types);
    read("iloc", &Items::read_places);
    read("iref", &Items::read_references);
    read("iprp", &Items::read_properties);
    measure();
  }

  void check() const {
    for (const auto& [item, type] : types_) {
      if (type == "iden" || type == "iovl")
        throw BadPicture(formatted("it has a picture derived as \"{}\", which is not read", type));
      if (type == "grid") check_grid(item);
    }
    for (const auto& [item, masters] : masters_) {
      const auto type = types_.find(item);
      if (type == types_.end() || !(is_coded(type->second) || type->second == "grid"))
        throw BadPicture("it cannot be decoded: an auxiliary picture is no picture");
      for (const ItemId master : masters)
        if (masters_.contains(master))
          throw BadPicture("it cannot be decoded: an auxiliary picture has one itself");
    }
    if (has_two_sizes_) throw BadPicture("it cannot be decoded: a picture has two sizes");
    for (const auto& [item, size] : sizes_) limit_.check(size.height, size.width);
  }

 private:
  static bool is_coded(const std::string& type) { return type == "hvc1" || type == "av01" || type == "jpeg"; }

  void read_types(BoxReader reader) {
    const uint64_t version = reader.number(1);
    reader.take(3);
    reader.number(version == 0 ? 2 : 4);  // how many
    while (!reader.done()) {
      const BoxReader::Box box = reader.box();
      BoxReader entry(box.content);
      const uint64_t kind = entry.number(1);
      if (box.type != "infe" || kind < 2) continue;
      entry.take(3);
      const ItemId item = entry.number(kind == 2 ? 2 : 4);
      entry.take(2);
      if (!types_.emplace(item, entry.text(4)).second)
        throw BadPicture("it cannot be decoded: two pictures have the same number");
    }
  }

  /// Of each item its bytes, in their pieces; of none that lie beyond the end.
  void read_places(BoxReader reader) {
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
      std::vector<Bytes> pieces;
      for (uint64_t e = 0; e < extents; ++e) {
        reader.take(index_bytes);
        const uint64_t offset = base + reader.number(offset_bytes), length = reader.number(length_bytes);
        const Bytes all = method == 0 ? file_ : inside_;
        if (method < 2 && offset <= all.size() && length <= all.size() - offset)
          pieces.push_back(all.subspan(static_cast<size_t>(offset), static_cast<size_t>(length)));
      }
      if (pieces.size() == extents) contents_.emplace(item, pieces);
    }
  }

  void read_references(BoxReader reader) {
    const size_t id_bytes = reader.number(1) == 0 ? 2 : 4;
    reader.take(3);
    while (!reader.done()) {
      const BoxReader::Box box = reader.box();
      BoxReader entry(box.content);
      const ItemId from = entry.number(id_bytes);
      const uint64_t count = entry.number(2);
      for (uint64_t i = 0; i < count; ++i) {
        const ItemId to = entry.number(id_bytes);
        if (box.type == "dimg") parts_[from].push_back(to);
        if (box.type == "auxl") masters_[from].insert(to);
      }
    }
  }

  void read_properties(BoxReader reader) {
    std::map<uint64_t, Property> properties;  // by their numbers, from 1
    std::vector<Bytes> associations;
    while (!reader.done()) {
      const BoxReader::Box box = reader.box();
      if (box.type == "ipma") associations.push_back(box.content);
      if (box.type != "ipco") continue;
      BoxReader boxes(box.content);
      for (uint64_t number = 1; !boxes.done(); ++number)
        properties.emplace(number, read_property(boxes.box()));
    }
    for (const Bytes content : associations) {
      BoxReader entries(content);
      const uint64_t version = entries.number(1), flags = entries.number(3), count = entries.number(4);
      for (uint64_t i = 0; i < count; ++i) {
        const ItemId item = entries.number(version < 1 ? 2 : 4);
        for (uint64_t left = entries.number(1); left > 0; --left) {
          const bool wide = (flags & 1) != 0;
          const uint64_t number =
              entries.number(wide ? 2 : 1) & (wide ? 0x7fff : 0x7f);  // without "essential"
          if (const auto found = properties.find(number); found != properties.end())
            add_property(item, found->second);
        }
      }
    }
  }

  Property read_property(const BoxReader::Box& box) const {
    Property property{.type = box.type};
    BoxReader reader(box.content);
    if (box.type == "ispe") {
      reader.take(4);
      property.size.width = static_cast<int64_t>(reader.number(4));
      property.size.height = static_cast<int64_t>(reader.number(4));
    }
    if (box.type == "hvcC") property.coded = hevc_configuration_sizes(box.content, limit_);
    if (box.type == "av1C") {
      reader.take(4);
      property.coded = av1_sizes(reader.take_all(), limit_);
    }
    return property;
  }

  void add_property(ItemId item, const Property& property) {
    if (property.type == "ispe" && sizes_.emplace(item, property.size).first->second != property.size)
      has_two_sizes_ = true;
    if (property.type == "hvcC" || property.type == "av1C") coded_[item].include(property.coded);
    if (property.type == "clap" || property.type == "irot") changed_.insert(item);
  }

  /// What the coded pictures themselves say of their sizes.
  void measure() {
    using Place = std::vector<const uint8_t*>;  // where the pieces begin and end; some items share them
    std::map<std::pair<std::string, Place>, CodedSizes> measured;
    size_t left = 16 * file_.size();  // more would take long, and no camera writes it
    for (const auto& [item, pieces] : contents_) {
      const auto found = types_.find(item);
      if (found == types_.end() || !(found->second == "hvc1" || found->second == "av01")) continue;
      const std::string& type = found->second;
      Place place;
      for (const Bytes piece : pieces) place.insert(place.end(), {piece.data(), piece.data() + piece.size()});
      const auto [known, is_new] = measured.try_emplace({type, place});
      if (is_new) {
        const std::vector<uint8_t> bytes = joined(pieces, left);
        left -= bytes.size();
        known->second = type == "hvc1" ? hevc_sizes(bytes, limit_) : av1_sizes(bytes, limit_);
      }
      coded_[item].include(known->second);
    }
  }

  /// The pieces one after the other; a BadPicture if they are longer than `most` bytes.
  static std::vector<uint8_t> joined(const std::vector<Bytes>& pieces, size_t most) {
    std::vector<uint8_t> bytes;
    for (const Bytes piece : pieces) {
      if (piece.size() > most - bytes.size()) throw BadPicture("it cannot be decoded: its pictures overlap");
      bytes.insert(bytes.end(), piece.begin(), piece.end());
    }
    return bytes;
  }

  void check_grid(ItemId item) const {
    const auto content = contents_.find(item);
    const auto tiles = parts_.find(item);
    if (content == contents_.end() || content->second.size() != 1 || tiles == parts_.end())
      throw BadPicture("it cannot be decoded: a grid has no tiles");
    BoxReader reader(content->second[0]);
    reader.take(1);
    const size_t bytes = (reader.number(1) & 1) != 0 ? 4 : 2;
    const auto rows = static_cast<int64_t>(reader.number(1)) + 1,
               columns = static_cast<int64_t>(reader.number(1)) + 1,
               width = static_cast<int64_t>(reader.number(bytes)),
               height = static_cast<int64_t>(reader.number(bytes));
    limit_.check(height, width);
    if (static_cast<int64_t>(tiles->second.size()) != rows * columns)
      throw BadPicture(formatted("it cannot be decoded: a grid of {} x {} has {} tiles", columns, rows,
                                 tiles->second.size()));
    const Size first = tile_size(tiles->second[0]);
    for (const ItemId tile : tiles->second)
      if (tile_size(tile) != first)
        throw BadPicture("it cannot be decoded: the tiles of a grid differ in size");
    if (columns * first.width < width || rows * first.height < height)
      throw BadPicture("it cannot be decoded: the tiles of a grid do not cover it");
  }

  /// Which its pixels fill.
  Size tile_size(ItemId tile) const {
    const auto type = types_.find(tile);
    const auto size = sizes_.find(tile);
    if (type == types_.end() || !is_coded(type->second) || size == sizes_.end())
      throw BadPicture("it cannot be decoded: a tile of a grid is no coded picture");
    if (changed_.contains(tile))
      throw BadPicture("it has a grid of pictures that are cropped or turned, which is not read");
    if (const auto coded = coded_.find(tile);
        coded != coded_.end() &&
        (coded->second.least_height < size->second.height || coded->second.least_width < size->second.width))
      throw BadPicture("it cannot be decoded: a tile of a grid is smaller than it should be");
    return size->second;
  }

  PixelLimit limit_;
  Bytes file_, inside_;
  std::map<ItemId, std::string> types_;
  std::map<ItemId, std::vector<Bytes>> contents_;
  std::map<ItemId, std::vector<ItemId>> parts_;  // of derived pictures
  std::map<ItemId, std::set<ItemId>> masters_;   // of auxiliary pictures: what they belong to
  std::map<ItemId, Size> sizes_;                 // that boxes say
  bool has_two_sizes_ = false;                   // one of them
  std::map<ItemId, CodedSizes> coded_;           // that pictures say themselves
  std::set<ItemId> changed_;                     // that are cropped or turned
};

/// Calls f(items) for each box "meta" of the file.
template <class F>
void for_each_meta(Bytes file, const PixelLimit& limit, F f) {
  for (BoxReader reader(file); reader.has_box();) {
    const BoxReader::Box box = reader.box();
    if (box.type == "meta") f(Items(file, box.content, limit));
  }
}

}  // namespace

void check_heif_items(Bytes file, const PixelLimit& limit) {
  for_each_meta(file, limit, [](const Items& items) { items.check(); });
}

void check_coded_items(Bytes file, const PixelLimit& limit) {
  for_each_meta(file, limit, [](const Items&) {});  // they are measured when they are read
}

}  // namespace la
