#include "apps/eval_results.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/report.h"
#include "tensor/format.h"
#include "tensor/io/files.h"
#include "tensor/text.h"
#include "tensor/version.h"

namespace la {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

double percent(double share) { return 100 * share; }

/// The number of few digits that the float was made from.
double shortest(float value) { return std::stod(formatted("{}", value)); }

std::string tested_on(const DataSource& data) {
  return data.test ? data.test->description() : "each against the others (leave-one-out)";
}

std::string full_path(const std::string& folder) {
  std::error_code ignored;
  return fs::weakly_canonical(folder, ignored);
}

/// Whether `object` has all of `fields` with the same values.
bool has(const Json& object, const Json& fields) {
  return object.is_object() &&
         std::all_of(fields.items().begin(), fields.items().end(), [&](const auto& field) {
           return object.contains(field.key()) && object[field.key()] == field.value();
         });
}

/// Gives the object of a list that has all of `key` these fields too; appends one if there is none. Returns
/// its place.
size_t put(Json& list, const Json& key, const Json& fields) {
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const Json& object) { return has(object, key); });
  const auto place = static_cast<size_t>(found - list.begin());
  if (found == list.end()) list.push_back(key);
  list[place].update(fields);
  return place;
}

/// The file as it is, or `empty` if it is not there.
Json read_results(const std::string& path, const Json& empty, bool overwrite) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return empty;
  Json found = Json::parse(read_file(path), nullptr, false);
  const bool same = has(found, {{"data", empty["data"]}, {"path", empty["path"]}}) &&
                    found.contains("evaluations") && found["evaluations"].is_array();
  check(same || overwrite,
        "{}: exists already, and has no results on {}; --out FILE writes another, --force overwrites it",
        path, empty["path"].get<std::string>());
  return same ? found : empty;
}

}  // namespace

EvalResults::EvalResults(const Model& model, const DataSource& data, const std::string& folder,
                         std::string path, bool overwrite, const Collectives& ranks)
    : tells_(ranks.rank() == 0), path_(std::move(path)) {
  const fs::path checkpoint = model.checkpoint;
  if (path_.empty()) path_ = checkpoint.parent_path() / formatted("eval-{}.json", data.name);
  if (!tells_) return;
  check_output(path_);
  all_ = std::make_unique<Json>(read_results(
      path_, {{"data", data.name}, {"path", full_path(folder)}, {"evaluations", Json::array()}}, overwrite));
  const std::string train = data.train->description(), test = tested_on(data);
  const Json key{{"checkpoint", checkpoint.filename().string()},
                 {"train", train},
                 {"test", test},
                 {"view_size", model.view.size}};
  number_ = put((*all_)["evaluations"], key,
                {{"network", model.network}, {"version", version}, {"time", utc_time()}});
  print("checkpoint  {}\nnetwork     {}\ndata        {}: {}; tested on {}\n", printable(model.checkpoint),
        model.network, printable(data.name), train, test);
}

EvalResults::~EvalResults() = default;

Json& EvalResults::mine() { return (*all_)["evaluations"][number_]; }

void EvalResults::add_knn(const std::string& vectors, int64_t k, float temperature, double top1) {
  if (!tells_) return;
  if (std::exchange(knn_shown_, vectors) != vectors)
    print(
        "\nnearest neighbors ({}, center crop, weights exp(similarity / {}))\n"
        "  {:>4}  {:>7}\n",
        vectors, temperature, "k", "top-1");
  print("  {:>4}  {:>5.2f} %\n", k, percent(top1));
  put(mine()["knn"], {{"vectors", vectors}, {"k", k}, {"temperature", shortest(temperature)}},
      {{"top1", top1}});
  write();
}

void EvalResults::add_density(int64_t local, int64_t background, const Densities& densities,
                              const std::vector<CategoryDensity>& by_category) {
  if (!tells_) return;
  constexpr int bins = 200;
  const auto mean = [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  print("\ndensity (mean similarity of a training picture to the nearest others)\n");
  print("  local       {:.4f}  of {}\n", mean(densities.local), local);
  print("  background  {:.4f}  of {}\n", mean(densities.background), background);
  Json categories = Json::array();
  std::vector<double> accuracy, by_local, by_background;
  for (const CategoryDensity& c : by_category) {
    categories.push_back({{"label", c.label},
                          {"pictures", c.pictures},
                          {"test_pictures", c.test_pictures},
                          {"local", c.local},
                          {"background", c.background},
                          {"accuracy", c.accuracy}});
    accuracy.push_back(c.accuracy);
    by_local.push_back(c.local);
    by_background.push_back(c.background);
  }
  if (!by_category.empty())
    print(
        "  over {}, accuracy of 200 neighbors correlates with local density by {:.2f}, with background by "
        "{:.2f}\n",
        counted(std::ssize(by_category), "category", "categories"), correlation(accuracy, by_local),
        correlation(accuracy, by_background));
  put(mine()["density"], {{"local_neighbors", local}, {"background_neighbors", background}},
      {{"local", mean(densities.local)},
       {"background", mean(densities.background)},
       {"bins_from_-1_to_1", bins},
       {"local_histogram", histogram(densities.local, bins)},
       {"background_histogram", histogram(densities.background, bins)},
       {"categories", categories}});
  write();
}

void EvalResults::add_readout(const std::string& labels, const ReadoutOptions& options,
                              const std::vector<StageReadout>& stages) {
  if (!tells_) return;
  print("\nlinear readout ({}, {}, batch {}, learning rate {})\n  {:<10}{:>10}  {:>18}{}\n", labels,
        options.steps > 0 ? counted(options.steps, "step") : counted(options.epochs, "epoch"), options.batch,
        options.learning_rate, "stage", "features", "center crop 1 / 5",
        options.ten_crop ? "    ten-crop 1 / 5" : "");
  for (const StageReadout& s : stages) {
    print("  {:<10}{:>10}  {:>7.2f} / {:>6.2f} %", s.stage, s.features.numel(), percent(s.one_crop.top1),
          percent(s.one_crop.top5));
    Json accuracy{{"features", s.features.numel()}, {"top1", s.one_crop.top1}, {"top5", s.one_crop.top5}};
    if (options.ten_crop) {
      print("  {:>7.2f} / {:>6.2f} %", percent(s.ten_crop.top1), percent(s.ten_crop.top5));
      accuracy["ten_crop_top1"] = s.ten_crop.top1;
      accuracy["ten_crop_top5"] = s.ten_crop.top5;
    }
    print("\n");
    const bool by_steps = options.steps > 0;
    const Json key{{"labels", labels},
                   {"stage", s.stage},
                   {by_steps ? "steps" : "epochs", by_steps ? options.steps : options.epochs},
                   {"batch", options.batch},
                   {"learning_rate", shortest(options.learning_rate)},
                   {"weight_decay", shortest(options.weight_decay)},
                   {"fixed_crop", name_of(options.fixed_crop)},
                   {"jitter", shortest(options.jitter)},
                   {"grayscale", shortest(options.grayscale)},
                   {"seed", options.seed}};
    put(mine()["readout"], key, accuracy);
  }
  write();
}

void EvalResults::write() const {
  write_text_file(path_, all_->dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace la
