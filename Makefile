# Local Aggregation: `make` builds the programs into this folder, `make help` lists everything else.

CXX ?= g++
BUILD ?= build
MARCH ?= native
OPTIMIZE ?= -O3
WARNINGS ?= -Wall -Wextra -Wshadow -Werror
JOBS ?= $(shell nproc)
ifeq ($(filter -j%,$(MAKEFLAGS))$(MAKELEVEL),0)
  MAKEFLAGS += -j$(JOBS)
endif

# No -ffast-math: a NaN must stay visible. errno and trapping are given up because they keep loops from vectorizing.
CXXFLAGS += -std=c++20 $(OPTIMIZE) -g -march=$(MARCH) -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math \
            -fopenmp $(WARNINGS) $(SANITIZE) -I. -MMD -MP
LDFLAGS += -fopenmp $(SANITIZE)
LDLIBS += -ldnnl -lfmt -lz -lpthread

FLOORS := tensor tensor/cpu autograd layers data la
LIB_SOURCES := $(sort $(wildcard $(FLOORS:%=%/*.cpp)))
APP_MAINS := $(sort $(wildcard apps/la_*.cpp))
APP_SHARED := $(filter-out $(APP_MAINS),$(sort $(wildcard apps/*.cpp)))
BENCH_MAINS := $(sort $(wildcard bench/bench_*.cpp))
TEST_SOURCES := $(sort $(wildcard tests/*.cpp))
object = $(patsubst %.cpp,$(BUILD)/%.o,$(1))

LIB := $(BUILD)/liblocalaggregation.a
# A build into another folder (BUILD=...) keeps its programs there, so that it never replaces the usual ones.
BIN := $(if $(filter build,$(BUILD)),.,$(BUILD))
PROGRAMS := $(APP_MAINS:apps/%.cpp=$(BIN)/%)
BENCHES := $(BENCH_MAINS:bench/%.cpp=$(BUILD)/%)
TESTS := $(BUILD)/run_tests

.PHONY: all programs test clean
all: programs
programs: $(PROGRAMS)

$(LIB): $(call object,$(LIB_SOURCES))
	@rm -f $@
	@ar rcs $@ $^

$(PROGRAMS): $(BIN)/%: $(BUILD)/apps/%.o $(call object,$(APP_SHARED)) $(LIB)
	@echo "  link    $@"
	@$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BENCHES): $(BUILD)/%: $(BUILD)/bench/%.o $(LIB)
	@echo "  link    $@"
	@$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(TESTS): $(call object,$(TEST_SOURCES) $(APP_SHARED)) $(LIB)
	@echo "  link    $@"
	@$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  compile $<"
	@$(CXX) $(CXXFLAGS) -c -o $@ $<

test: $(TESTS) $(PROGRAMS)
	@$(TESTS)

clean:
	rm -rf $(BUILD) $(PROGRAMS)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
