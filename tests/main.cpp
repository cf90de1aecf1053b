// The test program: doctest collects every TEST_CASE of this folder.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <memory>

#include "tests/processes.h"

namespace {

std::unique_ptr<la::Collectives> started_together;

/// Ends the output with one plain line that counts the cases.
struct Tally : doctest::IReporter {
  explicit Tally(const doctest::ContextOptions&) {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    const unsigned failed = stats.numTestCasesFailed;
    std::printf("%u passed, %u failed\n", stats.numTestCasesPassingFilters - failed, failed);
  }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("tally", 1, Tally);

}  // namespace

la::Collectives& la::processes() { return *started_together; }

int main(int argc, char** argv) {
  started_together = la::join_processes();
  started_together->set_timeout(100);  // of a case that one process has left before its end
  const int status = doctest::Context(argc, argv).run();
  if (status != 0 && !started_together->alone())
    started_together->abort(status);  // the others may wait for this one
  started_together.reset();
  return status;
}
