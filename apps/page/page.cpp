#include "apps/page/page.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/page/assets.h"
#include "apps/page/html.h"
#include "apps/report.h"
#include "tensor/error.h"
#include "tensor/format.h"
#include "tensor/text.h"
#include "tensor/version.h"

namespace la {
namespace {

using Json = nlohmann::ordered_json;

std::string compressed(std::string_view bytes) {
  uLongf size = compressBound(bytes.size());
  std::string result(size, '\0');
  check(compress2(reinterpret_cast<Bytef*>(result.data()), &size,
                  reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), Z_BEST_COMPRESSION) == Z_OK,
        "{} bytes of a report cannot be compressed", bytes.size());
  result.resize(size);
  return result;
}

/// The text of a script that holds JSON, where no "<" ends it.
std::string json_in_page(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (size_t at = 0; (at = text.find('<', at)) != std::string::npos;) text.replace(at, 1, "\\u003c");
  return text;
}

std::string block(const char* id, std::string_view bytes) {
  return formatted("<script type=\"text/plain\" id=\"{}\">{}</script>\n", id, base64(compressed(bytes)));
}
template <class T>
std::string block(const char* id, const std::vector<T>& values) {
  return block(id, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

Json describe(const RunRecord& run) {
  Json options = Json::array();
  for (const auto& [name, value] : run.options) options.push_back({name, value});
  return {{"name", run.name},
          {"plan", run.plan},
          {"results", run.results},
          {"options", options},
          {"metrics", run.metrics}};
}

/// What labels mean: the folders that the pictures are in, where there are.
std::vector<std::string> label_names(const LearntPictures& pictures) {
  std::map<int32_t, std::string> names;
  for (size_t i = 0; i < pictures.names.size() && i < pictures.labels.size(); ++i)
    names.try_emplace(pictures.labels[i],
                      std::filesystem::path(pictures.names[i]).parent_path().filename().string());
  std::vector<std::string> result;
  if (names.empty()) return result;
  for (int32_t label = 0; label <= names.rbegin()->first; ++label)
    result.push_back(names.contains(label) && !names[label].empty() ? names[label]
                                                                    : formatted("label {}", label));
  return result;
}

constexpr size_t most_confused = 100;  // labels, in a table that one can read
constexpr int64_t shown_neighbors = 12;

float extent_of(const LearntPictures& p) {
  float extent = 1e-9f;
  for (const MapPoint& point : p.map) extent = std::max({extent, std::abs(point.x), std::abs(point.y)});
  return extent;
}

/// How far each picture is from the center of its cluster, or, without clusters, from its neighbors in the mean.
std::vector<float> distances_of(const LearntPictures& p) {
  if (!p.clusters.distances.empty()) return {p.clusters.distances.begin(), p.clusters.distances.end()};
  std::vector<float> distances;
  for (int64_t i = 0; i < p.graph.size; ++i) {
    float sum = 0;
    for (const float similarity : p.graph.of(i).similarities) sum += 1 - similarity;
    distances.push_back(sum / static_cast<float>(p.graph.k));
  }
  return distances;
}

float farthest_of(const std::vector<float>& distances) {
  return std::max(*std::max_element(distances.begin(), distances.end()), 1e-9f);
}

Json describe(const LearntPictures& p, const std::vector<float>& distances) {
  const auto most = std::max_element(p.labels.begin(), p.labels.end());
  Json json{{"count", p.numbers.size()},
            {"of", p.all},
            {"vectors", p.vectors},
            {"k", std::min(shown_neighbors, p.graph.k)},
            {"extent", extent_of(p)},
            {"farthest", farthest_of(distances)},
            {"trustworthiness", p.trustworthiness},
            {"trusted", p.trusted},
            {"cell", p.thumbnails.cell},
            {"columns", p.thumbnails.columns},
            {"perSheet", p.thumbnails.per_sheet},
            {"labeled", !p.labels.empty()},
            {"labelCount", most == p.labels.end() ? 0 : *most + 1},
            {"clusterCount", p.clusters.members.size()},
            {"clustering", p.clustering}};
  if (std::ssize(p.numbers) < p.all) json["numbers"] = p.numbers;
  if (const auto names = label_names(p); !names.empty()) json["labelNames"] = names;
  const auto confusion = p.guesses.confusion();
  if (!p.guesses.labels.empty() && confusion.size() <= most_confused)
    json["confusion"] = {{"counts", confusion}, {"protocol", p.protocol}};
  return json;
}

template <class T>
std::vector<T> first_of_each(const std::vector<T>& values, int64_t k, int64_t shown) {
  std::vector<T> result;
  for (size_t i = 0; i < values.size(); ++i)
    if (static_cast<int64_t>(i) % k < shown) result.push_back(values[i]);
  return result;
}

/// Each value as a whole number of so many bits, of which 0 and the largest stand for low and high.
template <class Whole>
std::vector<Whole> quantized(const std::vector<float>& values, float low, float high) {
  constexpr auto most = static_cast<float>(std::numeric_limits<Whole>::max());
  std::vector<Whole> result;
  for (const float value : values)
    result.push_back(
        static_cast<Whole>(std::lround(most * std::clamp((value - low) / (high - low), 0.0f, 1.0f))));
  return result;
}

std::vector<float> coordinates_of(const LearntPictures& p) {
  std::vector<float> coordinates;
  for (const MapPoint& point : p.map) coordinates.insert(coordinates.end(), {point.x, point.y});
  return coordinates;
}

/// Numbers of pictures, of 16 bits where these are enough.
std::string block_of_numbers(const char* id, const std::vector<int32_t>& numbers, int64_t pictures) {
  if (pictures > 1 << 16) return block(id, numbers);
  return block(id, std::vector<uint16_t>(numbers.begin(), numbers.end()));
}

std::string blocks_of(const LearntPictures& p, const std::vector<float>& distances) {
  const int64_t shown = std::min(shown_neighbors, p.graph.k);
  const std::vector<int32_t> none(p.numbers.size(), -1);
  const float extent = extent_of(p);
  std::string blocks =
      block("positions", quantized<uint16_t>(coordinates_of(p), -extent, extent)) +
      block("labels", p.labels.empty() ? none : p.labels) +
      block("cluster-labels", p.clusters.labels.empty() ? none : p.clusters.labels) +
      block("distances", quantized<uint16_t>(distances, 0, farthest_of(distances))) +
      block_of_numbers("neighbors", first_of_each(p.graph.numbers, p.graph.k, shown), std::ssize(p.numbers)) +
      block("similarities", quantized<uint8_t>(first_of_each(p.graph.similarities, p.graph.k, shown), 0, 1)) +
      block("names", std::string_view(joined(p.names, "\n")));
  for (const std::string& sheet : p.thumbnails.sheets)
    blocks += formatted("<script type=\"text/plain\" class=\"sheet\">{}</script>\n", base64(sheet));
  return blocks;
}

std::string license_comment() { return formatted("/*\n{}*/\n", page_library_license()); }

/// The template with {{name}} replaced.
std::string filled(std::string_view form, const std::map<std::string, std::string, std::less<>>& values) {
  std::string text;
  while (true) {
    const size_t begin = form.find("{{"), end = begin == form.npos ? form.npos : form.find("}}", begin);
    text += form.substr(0, begin);
    if (end == form.npos) return text;
    const auto value = values.find(form.substr(begin + 2, end - begin - 2));
    check(value != values.end(), "the template of a report has an unknown field {}",
          form.substr(begin, end + 2 - begin));
    text += value->second;
    form.remove_prefix(end + 2);
  }
}

}  // namespace

PicturePart part_of(const LearntPictures& pictures) {
  const std::vector<float> distances = distances_of(pictures);
  return {describe(pictures, distances), blocks_of(pictures, distances)};
}

std::string html_of(const Page& page) {
  std::vector<std::string> names;
  Json report{{"runs", Json::array()}};
  for (const RunRecord& run : page.runs) {
    names.push_back(run.name);
    report["runs"].push_back(describe(run));
  }
  if (page.pictures != nullptr) report["pictures"] = page.pictures->described;
  const std::string data =
      formatted("<script type=\"application/json\" id=\"report\">{}</script>\n{}", json_in_page(report),
                page.pictures != nullptr ? page.pictures->blocks : "");
  const std::string refresh =
      page.refresh_seconds > 0
          ? formatted("<meta http-equiv=\"refresh\" content=\"{}\">\n", page.refresh_seconds)
          : "";
  return filled(page_template(), {{"title", escaped_html(joined(names, ", "))},
                                  {"made", formatted("Made {} by la_report {}", utc_time(), version)},
                                  {"refresh", refresh},
                                  {"style", std::string(page_style())},
                                  {"data", data},
                                  {"library", license_comment() + std::string(page_library())},
                                  {"script", page_script()}});
}

}  // namespace la
