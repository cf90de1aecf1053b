// A library that CUDA loads into any program, with CUDA_INJECTION64_PATH=.../libkernel_times.so, and that
// prints where the GPU's time went when the program ends: for each kernel its total time, its runs, and their
// mean; first the kernels of graphs, then those that were launched one by one. It uses CUPTI's activity
// records (https://docs.nvidia.com/cupti/main/main.html#cupti-activity-api).
//
// The table goes to the file that LA_KERNEL_TIMES names, or to the error stream.
#include <cupti.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Total {
  double milliseconds = 0;
  int64_t runs = 0;
};

struct Totals {
  std::mutex mutex;
  std::map<std::pair<bool, std::string>, Total> of;  // by (launched one by one, name)
};
Totals& totals() {
  static auto* const all = new Totals;  // never destroyed: records arrive until the program has ended
  return *all;
}

std::string readable(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  if (const size_t arguments = result.rfind('(');
      status == 0 && arguments != std::string::npos && arguments > 0)
    result.resize(arguments);
  constexpr size_t most = 150;
  if (result.size() > most) result.resize(most);
  return result;
}

void add(bool alone, const std::string& name, uint64_t start, uint64_t end) {
  Total& total = totals().of[{alone, name}];
  total.milliseconds += 1e-6 * static_cast<double>(end - start);
  ++total.runs;
}

void add(const CUpti_Activity* record) {
  switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
      const auto* kernel = reinterpret_cast<const CUpti_ActivityKernel10*>(record);
      return add(kernel->graphId == 0, readable(kernel->name), kernel->start, kernel->end);
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto* copy = reinterpret_cast<const CUpti_ActivityMemcpy6*>(record);
      return add(copy->graphId == 0, "copy of kind " + std::to_string(copy->copyKind), copy->start,
                 copy->end);
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
      const auto* set = reinterpret_cast<const CUpti_ActivityMemset4*>(record);
      return add(set->graphId == 0, "memset", set->start, set->end);
    }
    default:
      return;
  }
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* bytes, size_t* most_records) {
  *bytes = size_t{1} << 23;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, *bytes));
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  {
    const std::lock_guard lock(totals().mutex);
    CUpti_Activity* record = nullptr;
    while (valid > 0 && cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) add(record);
  }
  std::free(buffer);
}

void print_part(std::FILE* out, bool alone) {
  std::vector<std::pair<std::string, Total>> rows;
  double sum = 0;
  for (const auto& [key, total] : totals().of)
    if (key.first == alone) {
      rows.emplace_back(key.second, total);
      sum += total.milliseconds;
    }
  if (rows.empty()) return;
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.milliseconds > b.second.milliseconds; });
  std::fprintf(out, "# %s: %.2f ms in all\n#    ms  share     runs  us a run  kernel\n",
               alone ? "launched one by one" : "of graphs", sum);
  constexpr size_t most = 60;
  for (size_t i = 0; i < std::min(most, rows.size()); ++i) {
    const auto& [name, total] = rows[i];
    std::fprintf(out, "%8.3f %5.1f%% %8lld %9.2f  %s\n", total.milliseconds,
                 sum > 0 ? 100 * total.milliseconds / sum : 0.0, static_cast<long long>(total.runs),
                 1e3 * total.milliseconds / static_cast<double>(total.runs), name.c_str());
  }
}

void print() {
  cuptiActivityFlushAll(1);
  const std::lock_guard lock(totals().mutex);
  const char* path = std::getenv("LA_KERNEL_TIMES");
  std::FILE* file = path != nullptr ? std::fopen(path, "a") : nullptr;
  std::FILE* out = file != nullptr ? file : stderr;
  print_part(out, false);
  print_part(out, true);
  std::fflush(out);
  if (file != nullptr) std::fclose(file);
}

bool is_done(CUptiResult result, const char* what) {
  const char* text = "";
  if (result != CUPTI_SUCCESS) {
    cuptiGetResultString(result, &text);
    std::fprintf(stderr, "kernel_times: %s: %s\n", what, text);
  }
  return result == CUPTI_SUCCESS;
}

}  // namespace

/// CUDA calls it once, when the program uses a GPU first.
extern "C" int InitializeInjection() {
  bool ready = is_done(cuptiActivityRegisterCallbacks(give_buffer, take_buffer), "registering callbacks");
  for (const CUpti_ActivityKind kind :
       {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET})
    ready = ready && is_done(cuptiActivityEnable(kind), "asking for records");
  if (ready) std::atexit(print);
  return 1;
}
