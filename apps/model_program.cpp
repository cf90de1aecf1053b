#include "apps/model_program.h"

#include <filesystem>

#include "apps/options/arguments.h"
#include "apps/processes.h"
#include "tensor/format.h"
#include "tensor/io/checksum.h"
#include "tensor/io/files.h"

namespace la {

void add_model_options(OptionTable& table, ModelOptions& options) {
  Option& checkpoint = table.add("checkpoint", options.checkpoint, "a run's folder, or a checkpoint in it");
  checkpoint.positional = checkpoint.required = true;
}

void add_model_picture_options(OptionTable& table, DataOptions& options) {
  add_picture_options(table, options);
  table
      .add(
          "background-color", options.decode.background,
          "what shows where a picture is transparent: white, gray, black or #rrggbb; default: the training's")
      .shows_value = false;
}

void add_process_options(OptionTable& table, ModelOptions& options) {
  table
      .add("collective-timeout", options.collective_timeout, above(0),
           "seconds that a process waits for the others")
      .on_resume = Option::OnResume::free;
}

namespace {

/// What must be the same for all processes, as lines.
std::string shared_lines(const OptionTable& table, const Model& model,
                         const std::vector<std::string>& files) {
  uint32_t crc = 0;
  for (const Module::Parameter& p : model.module->parameters()) {
    const Tensor host = p.variable->value().to(Device::cpu());
    crc = crc32_of(host.raw(), host.bytes(), crc);
  }
  std::string lines = formatted("network with checksum {:08x}\n", crc);
  for (const std::string& file : files) {
    const std::string bytes = read_file(file);
    lines += formatted("{} with checksum {:08x}\n", file, crc32_of(bytes.data(), bytes.size()));
  }
  for (const Option& option : table.options())
    if (option.on_resume == Option::OnResume::same)
      lines += formatted("{} = {}\n", option.name, option.get());
  return lines;
}

}  // namespace

Model open_model(ModelOptions& options, const OptionTable& table, Collectives& ranks) {
  ranks.set_timeout(options.collective_timeout);
  if (const std::string warning = choose_threads(ranks, options.threads);
      !warning.empty() && ranks.rank() == 0)
    print(stderr, "{}\n", warning);
  Model model = load_model(options.checkpoint, find_device(options.device));
  options.data.decode.gray = model.channels == 1;
  if (!table.given("background-color")) options.data.decode.background = parse_color(model.background_color);
  return model;
}

void begin_together(Collectives& ranks, const OptionTable& table, const Model& model, const DataSource& data,
                    const std::vector<std::string>& files) {
  if (!ranks.alone()) check_same(ranks, shared_lines(table, model, files), data);
  if (ranks.rank() > 0) return;
  for (const std::string& note : data.notes) print(stderr, "{}\n", with_option_names(printable(note)));
}

void check_ending(const char* option, const std::string& file, const char* ending) {
  std::error_code ignored;
  const bool other = std::filesystem::exists(file, ignored) &&
                     !std::filesystem::is_regular_file(file, ignored) &&
                     !std::filesystem::is_directory(file, ignored);
  if (!other && !file.ends_with(ending))
    throw UsageError(formatted("{} {}: expected a name that ends in {}", option, file, ending));
}

void check_new_output(const std::string& file, bool overwrite) {
  check_output(file);
  std::error_code ignored;
  check(overwrite || !std::filesystem::is_regular_file(file, ignored),
        "{}: exists already; --force overwrites it", file);
}

void check_channels(const Model& model, const Dataset& pictures) {
  check(pictures.channels() == model.channels, "{}: the network sees pictures of {} channels, these have {}",
        model.checkpoint, model.channels, pictures.channels());
}

void print_warnings(const Dataset& pictures) {
  for (const std::string& warning : pictures.take_warnings())
    print(stderr, "bad picture {}\n", with_option_names(warning));
}

}  // namespace la
