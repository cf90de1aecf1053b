#include "apps/model_program.h"

namespace la {

void add_model_options(CLI::App& app, ModelOptions& options) {
  app.add_option("--format", options.data.format, "how the pictures are stored; auto recognizes it")
      ->capture_default_str();
  app.add_option("--limit", options.data.limit, "use only so many pictures, spread over the folder; 0: all");
  app.add_option("--max-bad", options.data.max_bad, "share of the picture files that may be damaged or gone")
      ->capture_default_str();
  app.add_option("--device", options.device, "where to compute; auto takes a GPU if there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads that compute; 0: one a core")
      ->check(CLI::NonNegativeNumber);
}

bool parse_arguments(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return false;
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{} (--help lists the options)", error.what()));
  }
  return true;
}

Model open_model(const ModelOptions& options) {
  if (options.threads > 0) set_num_threads(options.threads);
  return load_model(options.checkpoint, find_device(options.device));
}

void check_channels(const Model& model, const Dataset& pictures) {
  check(pictures.channels() == model.channels, "{}: the network sees pictures of {} channels, these have {}",
        model.checkpoint, model.channels, pictures.channels());
}

void print_complaints(const Dataset& pictures) {
  for (const std::string& complaint : pictures.take_complaints())
    fmt::print(stderr, "bad picture {}\n", complaint);
}

}  // namespace la
