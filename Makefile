# Local Aggregation: `make deps && make` builds the programs into this folder; `make help` lists everything else.

CXX ?= g++
BUILD ?= build
# The CPUs that it is built for: this one, or any that has AVX2 and FMA (portable), or a name that $(CXX) knows.
MARCH ?= native
OPTIMIZE ?= -O3
# Names and lines, for stack traces and profiles; -g is for debuggers.
DEBUG ?= -g1
# GCC 12 sees overlaps in std::string (-Wrestrict), and writes beyond the end in fmt (-Wstringop-overflow), where there are none.
WARNINGS ?= -Wall -Wextra -Wshadow -Wno-restrict -Wno-stringop-overflow -Werror
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy

comma := ,
# A \# within a function keeps its backslash from Make 4.3 on.
hash := \#

# Build in parallel unless the caller has said how.
ifeq ($(MAKELEVEL),0)
  ifeq ($(filter -j%,$(MAKEFLAGS)),)
    MAKEFLAGS += -j$(shell nproc)
  endif
endif

# CXXFLAGS, NVCCFLAGS and LDFLAGS are the caller's. No -ffast-math: a NaN must stay visible. errno and trapping are given up
# because they keep loops from vectorizing.
PORTABLE := $(filter portable,$(MARCH))
COMPILE = $(CXX) -std=c++20 $(OPTIMIZE) $(DEBUG) -march=$(if $(PORTABLE),x86-64-v3,$(MARCH)) $(COMPILE_FLAGS) $(CXXFLAGS)
COMPILE_FLAGS := -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math -fopenmp $(WARNINGS) $(SANITIZE) $(PIC) \
                 -I. -MMD -MP
LINK = $(CXX) -fopenmp $(SANITIZE) $(LDFLAGS)
LIBRARIES := -ldnnl -lfmt -lpugixml -ljpeg -lspng -lgif -lstb -lz -lpthread

# ---- Kinds of pictures that need a library of their own ----------------------------------------------------------------

# Each is read where its library is found; WEBP=0 and the like leave it out.
has_header = $(shell echo '$(hash)include <$(1)>' | $(CXX) -x c++ -E - > /dev/null 2>&1 && echo 1 || echo 0)
version_of = $(shell printf '$(hash)include <$(1)>\n$(2)\n' | $(CXX) -x c++ -E -P - 2>/dev/null | tail -n 1 | tr -d ' "')
WEBP ?= $(call has_header,webp/demux.h)
TIFF ?= $(shell printf '$(hash)include <tiffio.h>\n$(hash)if TIFFLIB_VERSION < 20221213\n$(hash)error\n$(hash)endif\n' | $(CXX) -x c++ -E - > /dev/null 2>&1 && echo 1 || echo 0)
HEIF ?= $(call has_header,libheif/heif.h)
AVIF ?= $(call has_header,avif/avif.h)
LIBRARIES += $(if $(filter 1,$(WEBP)),-lwebpdemux -lwebp) $(if $(filter 1,$(TIFF)),-ltiff) $(if $(filter 1,$(HEIF)),-lheif) $(if $(filter 1,$(AVIF)),-lavif)
NO_CODECS := $(if $(filter 1,$(WEBP)),,webp) $(if $(filter 1,$(TIFF)),,tiff) $(if $(filter 1,$(HEIF)),,heic) $(if $(filter 1,$(AVIF)),,avif)
CODEC_FLAGS := -DLA_WEBP=$(WEBP) -DLA_TIFF=$(TIFF) -DLA_HEIF=$(HEIF) -DLA_AVIF=$(AVIF)
PICTURES := JPEG, PNG, GIF, BMP, TGA, PSD, PNM$(if $(filter 1,$(WEBP)),$(comma) WebP)$(if $(filter 1,$(TIFF)),$(comma) TIFF)$(if $(filter 1,$(HEIF)),$(comma) HEIC)$(if $(filter 1,$(AVIF)),$(comma) AVIF)$(if $(strip $(NO_CODECS)),; without a library for: $(strip $(NO_CODECS)) ('make deps' installs them))

# ---- netCDF: assemblies for Brain-Score ---------------------------------------------------------------------------------

# la_embed alone writes them; NETCDF=0 leaves that out.
NETCDF ?= $(call has_header,netcdf.h)
NETCDF_SOURCE := apps/netcdf/$(if $(filter 1,$(NETCDF)),assembly,absent).cpp
ASSEMBLIES = $(if $(filter 1,$(NETCDF)),netCDF $(call version_of,netcdf_meta.h,NC_VERSION),none: $(if $(filter file,$(origin NETCDF)),no netcdf.h ('make deps' installs it),NETCDF=0))

# ---- MPI: several processes ------------------------------------------------------------------------------------------

# OpenMPI's header is needed to build; its library is loaded where processes are started together. MPI=0 leaves it out.
MPI_INCLUDE := $(patsubst %/,%,$(dir $(firstword $(wildcard $(foreach d,$(MPI_HOME)/include $(shell mpicxx --showme:incdirs 2>/dev/null) /usr/lib/x86_64-linux-gnu/openmpi/include /usr/lib/aarch64-linux-gnu/openmpi/include,$(d)/mpi.h)))))
MPI ?= $(if $(MPI_INCLUDE),1,0)
MPI_SOURCES := tensor/mpi/$(if $(filter 1,$(MPI)),mpi_collectives,absent).cpp
PROCESSES = $(if $(filter 1,$(MPI)),OpenMPI $(shell awk '/define OMPI_(MAJOR|MINOR)_VERSION/ { printf "%s%s", dot, $$3; dot = "." }' $(MPI_INCLUDE)/mpi.h),one alone: $(if $(MPI_INCLUDE),MPI=0,no mpi.h of OpenMPI ('make deps' installs it)))

# ---- CUDA: what there is ---------------------------------------------------------------------------------------------

# The CUDA backend is built where nvcc and cuDNN's headers are found; CUDA=0 leaves it out, CUDA=1 insists on it.
NVCC ?= $(or $(shell command -v nvcc 2>/dev/null),$(wildcard $(CUDA_HOME)/bin/nvcc),$(wildcard /usr/local/cuda/bin/nvcc))
CUDA_ROOT := $(if $(NVCC),$(abspath $(dir $(realpath $(NVCC)))/..))
header_folder = $(patsubst %/,%,$(dir $(firstword $(wildcard $(foreach d,$(CUDA_ROOT) $(CUDNN_HOME) $(NCCL_HOME) /usr,$(d)/include/$(1) $(d)/include/x86_64-linux-gnu/$(1) $(d)/include/aarch64-linux-gnu/$(1))))))
CUDNN_INCLUDE := $(call header_folder,cudnn_graph.h)
NCCL_INCLUDE := $(call header_folder,nccl.h)
# NAME_MAJOR.NAME_MINOR from a header: $(call header_version,FILE,NAME)
header_version = $(shell awk '$$2 == "$(2)_MAJOR" { major = $$3 } $$2 == "$(2)_MINOR" { minor = $$3 } END { print major "." minor }' $(1))
ifeq ($(NVCC),)
  NO_CUDA := nvcc is neither on PATH nor in CUDA_HOME
else ifeq ($(CUDNN_INCLUDE),)
  NO_CUDA := cudnn_graph.h of cuDNN 9 is in none of CUDA_HOME, CUDNN_HOME and /usr
endif
CUDA ?= $(if $(NO_CUDA),0,1)
ifeq ($(CUDA),1)
  ifneq ($(NO_CUDA),)
    $(error CUDA=1, but $(NO_CUDA))
  endif
  # Machine code for the GPUs of this machine; where there is none, for compute capability 8.0 and 9.0, and PTX from
  # which the driver makes that of later GPUs.
  CUDA_ARCH ?= $(or $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d . | sort -u),80 90 90+PTX)
  cuda_code = $(if $(findstring +PTX,$(1)),-gencode arch=compute_$(1:%+PTX=%)$(comma)code=compute_$(1:%+PTX=%),-gencode arch=compute_$(1)$(comma)code=sm_$(1))
  COMPILE_KERNELS := $(NVCC) -std=c++20 -O3 -lineinfo -I. -ccbin $(CXX) --expt-relaxed-constexpr -MMD -MP \
                     $(foreach a,$(CUDA_ARCH),$(call cuda_code,$(a))) -Xcompiler -Wall,-Wextra$(if $(PIC),$(comma)$(PIC)) \
                     -Werror all-warnings -Xptxas --warn-on-spills,--warning-as-error $(NVCCFLAGS)
  COMPILE_FLAGS += $(foreach d,$(sort $(CUDA_ROOT)/include $(CUDNN_INCLUDE) $(NCCL_INCLUDE)),-isystem $(d))
  LIBRARIES += $(firstword $(wildcard $(CUDA_ROOT)/lib64/libcudart_static.a $(CUDA_ROOT)/lib/libcudart_static.a)) -ldl -lrt
  DEVICES := CPU with $(shell nproc) cores; CUDA $(shell $(NVCC) --version | sed -n 's/.*release \([0-9.]*\).*/\1/p'), cuDNN $(call header_version,$(CUDNN_INCLUDE)/cudnn_version.h,CUDNN), \
             $(if $(NCCL_INCLUDE),NCCL $(call header_version,$(NCCL_INCLUDE)/nccl.h,NCCL),no NCCL), for compute capability $(CUDA_ARCH)
else
  DEVICES := CPU with $(shell nproc) cores; no CUDA$(if $(NO_CUDA),: $(NO_CUDA))
endif

# ---- What is built -------------------------------------------------------------------------------------------------

FLOORS := tensor tensor/cpu tensor/image tensor/io tensor/mpi autograd layers layers/onnx layers/detection data data/codecs evaluation la
LIB_SOURCES := $(filter-out $(patsubst %,data/codecs/%.cpp,$(NO_CODECS)) $(filter-out $(MPI_SOURCES),$(wildcard tensor/mpi/*.cpp)),$(sort $(wildcard $(FLOORS:%=%/*.cpp))))
CUDA_SOURCES := $(filter-out %/absent.cpp,$(sort $(wildcard tensor/cuda/*.cpp)))
KERNELS := $(sort $(wildcard tensor/cuda/*.cu))
EMULATED_SOURCES := tensor/cuda/convolution.cpp tensor/cuda/cuda_backend.cpp $(sort $(wildcard tensor/cuda/emulated/*.cpp))
APP_MAINS := $(sort $(wildcard apps/la_*.cpp))
APP_SHARED := $(filter-out $(APP_MAINS) apps/netcdf/%,$(sort $(wildcard apps/*.cpp apps/*/*.cpp)))
BENCH_MAINS := $(sort $(wildcard bench/bench_*.cpp))
OP_CASES := $(sort $(wildcard tests/op_*.cpp tests/reference*.cpp))
TEST_SOURCES := $(sort $(wildcard tests/*.cpp docs/*.cpp))
object = $(patsubst %.cpp,$(BUILD)/%.o,$(1))

# Programs go to this folder; those of a build into another folder (BUILD=...) stay there.
BIN := $(if $(filter build,$(BUILD)),.,$(BUILD))
CPU_SOURCES := $(filter tensor/cpu/%,$(LIB_SOURCES))
ifneq ($(PORTABLE),)
  CPU_VARIANTS := v3 v4 v4_bf16
  LIB_SOURCES := $(filter-out $(CPU_SOURCES),$(LIB_SOURCES)) $(wildcard tensor/cpu/variants/*.cpp)
endif
LIB_OBJECTS := $(call object,$(LIB_SOURCES)) $(CPU_VARIANTS:%=$(BUILD)/cpu_%.o)
LIB := $(BUILD)/libcore.a
# What every program needs besides: the CUDA backend, or what says that there is none; in the tests of kernels, the
# kernels compiled for the host.
ifeq ($(CUDA),1)
  DEVICE := $(call object,$(CUDA_SOURCES)) $(KERNELS:%.cu=$(BUILD)/%.o)
else
  DEVICE := $(BUILD)/tensor/cuda/absent.o
endif
EMULATED := $(call object,$(EMULATED_SOURCES)) $(KERNELS:%.cu=$(BUILD)/%.host.o)
PROGRAMS := $(APP_MAINS:apps/%.cpp=$(BIN)/%)
BENCHES := $(BENCH_MAINS:bench/%.cpp=$(BUILD)/%)
DETECTION_WORLD := $(BUILD)/make_detection_world
TESTS := $(BUILD)/run_tests
FUZZ := $(BUILD)/fuzz
PYTHON ?= python3
EMULATED_TESTS := $(BUILD)/run_tests_emulated
PROBE_CUDNN := $(BUILD)/probe_cudnn
CUDNN_GPUS := $(sort $(wildcard tests/cudnn/*.json))

.PHONY: all libraries install debug programs benches deps config test fuzz fuzz-by-coverage test-gpu test-cudnn test-machine-code test-install test-barriers test-bundle test-sanitize campaign bundle check check-floors check-docs check-tidy check-deps format bench bench-tour ablations detection clean help
all: programs
programs: $(PROGRAMS)
benches: $(BENCHES)

# Thin: it names the objects.
$(LIB): $(LIB_OBJECTS)
	@rm -f $@
	@ar rcsT $@ $^

# Before the rules that link: before the library, of which it needs functions.
$(BIN)/la_embed $(TESTS) $(EMULATED_TESTS): $(call object,$(NETCDF_SOURCE))
$(BIN)/la_embed $(TESTS) $(EMULATED_TESTS): LIBRARIES += $(if $(filter 1,$(NETCDF)),-lnetcdf)

define link
	@echo "  link     $@"
	@$(LINK) -o $@ $^ $(LIBRARIES) $(LDLIBS)
endef

$(PROGRAMS): $(BIN)/%: $(BUILD)/apps/%.o $(call object,$(APP_SHARED)) $(DEVICE) $(LIB)
	$(link)
$(BUILD)/bench_tour: $(call object,docs/nearest_steps.cpp)
$(BENCHES): $(BUILD)/%: $(BUILD)/bench/%.o $(call object,$(APP_SHARED) $(OP_CASES)) $(DEVICE) $(LIB)
	$(link)
$(DETECTION_WORLD): $(call object,bench/make_detection_world.cpp tests/detection_world.cpp tests/picture_files.cpp $(APP_SHARED)) $(DEVICE) $(LIB)
	$(link)
$(TESTS): $(call object,$(TEST_SOURCES) $(APP_SHARED)) $(DEVICE) $(LIB)
	$(link)
$(FUZZ): $(call object,tests/fuzz/fuzz.cpp $(APP_SHARED)) $(DEVICE) $(LIB)
	$(link) $(FUZZ_MAIN)
$(PROBE_CUDNN): $(call object,tests/cudnn/probe_cudnn.cpp) $(DEVICE) $(LIB)
	$(link)
$(EMULATED_TESTS): $(call object,$(TEST_SOURCES) $(APP_SHARED)) $(EMULATED) $(LIB)
	$(link)

# Made again when another set of libraries is found.
$(BUILD)/data/codecs/codecs.o: COMPILE_FLAGS += $(CODEC_FLAGS)
$(BUILD)/data/codecs/codecs.o: $(BUILD)/codec-flags
NETCDF_FLAGS := -DLA_NETCDF=$(NETCDF)
$(BUILD)/tests/test_assembly.o: COMPILE_FLAGS += $(NETCDF_FLAGS)
$(BUILD)/tests/test_assembly.o $(call object,$(NETCDF_SOURCE)): $(BUILD)/netcdf-flags
# What a report's page consists of is put into the program, D3 of Debian's libjs-d3 included.
D3 ?= /usr/share/javascript/d3/d3.min.js
D3_LICENSE ?= /usr/share/doc/libjs-d3/copyright
PAGE_FLAGS := -DLA_D3='"$(D3)"' -DLA_D3_LICENSE='"$(D3_LICENSE)"'
$(BUILD)/apps/page/assets.o: COMPILE_FLAGS += $(PAGE_FLAGS)
$(BUILD)/apps/page/assets.o: $(wildcard apps/page/*.html apps/page/*.css apps/page/*.js) $(wildcard $(D3))
# What was compiled with other flags is compiled again.
remember = mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@
ALL_FLAGS := $(COMPILE)
$(BUILD)/codec-flags: config
	@$(call remember,$(CODEC_FLAGS))
$(BUILD)/netcdf-flags: config
	@$(call remember,$(NETCDF_FLAGS))
$(BUILD)/tensor/mpi/%.o: COMPILE_FLAGS += $(if $(MPI_INCLUDE),-isystem $(MPI_INCLUDE))
$(BUILD)/flags: config
	@$(call remember,$(ALL_FLAGS))
$(BUILD)/kernel-flags: config
	@$(call remember,$(COMPILE_KERNELS))

# What computes lies in tensor/ and data/, but for the map of embeddings; all else is compiled for speed of compiling.
glue := apps la evaluation layers autograd tensor/io tests
$(foreach d,$(glue),$(BUILD)/$(d)/%.o): OPTIMIZE := $(if $(filter -O3,$(OPTIMIZE)),-O1,$(OPTIMIZE))
$(patsubst %,$(BUILD)/evaluation/%.o,fourier grid_convolution registration repulsion tsne): OPTIMIZE := $(OPTIMIZE)

define compile
	@mkdir -p $(@D)
	@echo "  compile  $<$(1)"
	@$(COMPILE) -c -o $@ $<
endef

$(BUILD)/%.o: %.cpp $(BUILD)/flags
	$(compile)

$(BUILD)/%.o: %.cu $(BUILD)/kernel-flags
	@mkdir -p $(@D)
	@echo "  compile  $<"
	@$(COMPILE_KERNELS) -c -o $@ $<

$(BUILD)/%.host.o: COMPILE_FLAGS += -x c++
$(BUILD)/%.host.o: %.cu $(BUILD)/flags
	$(call compile, for the host)

# tensor/cpu for one generation of CPUs: a single object, of which nothing is visible but the function that makes the backend.
v3_flags := -march=x86-64-v3
v4_flags := -march=x86-64-v4
v4_bf16_flags := -march=x86-64-v4 -mavx512bf16
define cpu_variant
$(BUILD)/$(1)/%.o: COMPILE_FLAGS += $$($(1)_flags)
$(BUILD)/$(1)/%.o: %.cpp $(BUILD)/flags
	$$(call compile, for x86-64-$(1))
$(BUILD)/cpu_$(1).o: $(CPU_SOURCES:%.cpp=$(BUILD)/$(1)/%.o)
	@ld -r --force-group-allocation -o $$@.all $$^
	@objcopy --redefine-sym _ZN2la16make_cpu_backendEv=$$(call factory,$(1)) $$@.all
	@objcopy --keep-global-symbol=$$(call factory,$(1)) $$@.all $$@
	@rm $$@.all
endef
# cpu_backend_v3() and the like, as the linker knows them.
factory = _ZN2la$(shell printf cpu_backend_$(1) | wc -c)cpu_backend_$(1)Ev
$(foreach v,$(CPU_VARIANTS),$(eval $(call cpu_variant,$(v))))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# Loaded into a program by CUDA: see its source.
$(BUILD)/libkernel_times.so: bench/kernel_times.cpp | config
	@echo "  link     $@"
	@$(filter-out -I.,$(COMPILE)) -MF $(@:.so=.d) -fPIC -shared -o $@ $< $(addprefix -L,$(wildcard $(CUDA_ROOT)/lib64 $(CUDA_ROOT)/extras/CUPTI/lib64)) -lcupti

# ---- What the machine has --------------------------------------------------------------------------------------------

# Debian package : header that shows it is there : what it is for
PACKAGES := libdnnl-dev:oneapi/dnnl/dnnl.hpp:convolutions_and_matrix_products_on_the_CPU \
            libfmt-dev:fmt/format.h:formatting_of_messages \
            libcli11-dev:CLI/CLI.hpp:command_line_and_preset_files \
            nlohmann-json3-dev:nlohmann/json.hpp:metrics_and_checkpoint_headers \
            libeigen3-dev:eigen3/Eigen/Eigenvalues:eigenvalues_for_principal_components \
            libpugixml-dev:pugixml.hpp:reading_the_XML_of_VOC \
            libjpeg62-turbo-dev:jpeglib.h:decoding_JPEG \
            libspng-dev:spng.h:decoding_PNG \
            libgif-dev:gif_lib.h:decoding_GIF \
            libstb-dev:stb/stb_image.h:decoding_BMP,_TGA_and_PSD \
            libwebp-dev::decoding_WebP \
            libtiff-dev::decoding_TIFF \
            libheif-dev::decoding_HEIC \
            libavif-dev::decoding_AVIF \
            libnetcdf-dev::assemblies_for_Brain-Score \
            zlib1g-dev:zlib.h:reading_.gz_data_and_checksums \
            libjs-d3::drawing_the_page_of_a_report \
            libopenmpi-dev::several_processes \
            openmpi-bin::starting_several_processes \
            doctest-dev:doctest/doctest.h:the_tests \
            pkg-config::the_tests_of_what_is_installed \
            cmake::the_tests_of_what_is_installed \
            dataset-fashion-mnist::the_default_pictures
field = $(word $(2),$(subst :, ,$(1)))
HEADERS := $(foreach p,$(PACKAGES),$(if $(findstring ::,$(p)),,$(call field,$(p),2)))

config:
	@echo "compiler   $$($(CXX) --version | head -n 1), -march=$(MARCH)"
	@for header in $(HEADERS); do \
	   echo "#include <$$header>" | $(CXX) -std=c++20 -E -x c++ - > /dev/null 2>&1 || missing="$$missing $$header"; \
	 done; \
	 for file in $(D3) $(D3_LICENSE); do [ -f $$file ] || missing="$$missing $$file"; done; \
	 if [ -n "$$missing" ]; then echo "missing:$$missing; 'make deps' installs what is needed" >&2; exit 1; fi
	@echo "libraries  oneDNN $$(printf '#include <oneapi/dnnl/dnnl_version.h>\nDNNL_VERSION_MAJOR.DNNL_VERSION_MINOR.DNNL_VERSION_PATCH\n' | $(CXX) -E -P -x c++ - | tail -n 1 | tr -d ' '), fmt, CLI11, nlohmann json, zlib"
	@echo "pictures   $(PICTURES)"
	@echo "assemblies $(ASSEMBLIES)"
	@echo "processes  $(PROCESSES)"
	@echo "devices    $(strip $(DEVICES))"

define install
	@missing=""; \
	 for entry in $(1); do \
	   package=$${entry%%:*}; \
	   dpkg -s $$package > /dev/null 2>&1 || { \
	     missing="$$missing $$package"; echo "needed: $$package ($$(echo $${entry##*:} | tr _ ' '))"; }; \
	 done; \
	 if [ -z "$$missing" ]; then echo "all packages are there"; exit 0; fi; \
	 command -v apt-get > /dev/null || { echo "no apt-get here: install the above with your package manager" >&2; exit 1; }; \
	 sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	 $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $$missing
endef
deps:
	$(call install,$(PACKAGES))
# What `make check` needs, and the tests that show a page to a browser.
check-deps:
	$(call install,clang-format::the_layout_of_the_sources clang-tidy::a_look_for_faults chromium::the_tests_of_the_page_of_a_report)

# ---- Checks ------------------------------------------------------------------------------------------------------------

test: check-floors check-docs $(TESTS) $(EMULATED_TESTS) $(PROGRAMS) $(if $(filter 1,$(CUDA)),$(PROBE_CUDNN))
	@# Convolutions and products once as on a CPU without AVX-512, which has no arithmetic of bf16.
	@DNNL_MAX_CPU_ISA=AVX2 LA_TEST_DEVICE=cpu $(TESTS) -tc='ops:*,large conv*' > $(BUILD)/avx2.log 2>&1 || { cat $(BUILD)/avx2.log; exit 1; }
	@LA_PROGRAMS=$(BIN) $(TESTS)
	@$(if $(filter 1,$(MPI)),sh tests/run_processes.sh $(TESTS))
	@sh tests/run_emulated.sh $(EMULATED_TESTS)
	@$(if $(filter 1,$(CUDA)),$(PROBE_CUDNN) $(CUDNN_GPUS))
	@sh tests/check_install.sh
	@if command -v $(PYTHON) > /dev/null; then \
	   $(PYTHON) tests/check_exports.py $(BIN) resnet20 preact-resnet18 alexnet && $(PYTHON) tests/check_tensorboard.py $(BIN) && \
	   $(PYTHON) tests/check_xarray.py $(BIN); \
	 fi

# Whether programs that are not of this folder can be built against what is installed.
test-install:
	@sh tests/check_install.sh

# The readers of files with files that were changed at random; with SECONDS=n each for so long under libFuzzer (clang++).
LIBFUZZER := build/libfuzzer
fuzz: $(if $(SECONDS),fuzz-by-coverage,$(FUZZ))
	@$(if $(SECONDS),,$(FUZZ) $(FUZZ_RUNS))
FUZZ_RUNS ?= 3000
fuzz-by-coverage:
	@$(MAKE) --no-print-directory BUILD=$(LIBFUZZER) CUDA=0 CXX=clang++ OPTIMIZE=-O1 WARNINGS=-w \
	   SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -DLA_LIBFUZZER" FUZZ_MAIN=-fsanitize=fuzzer $(LIBFUZZER)/fuzz
	@sh tests/fuzz/run_libfuzzer.sh $(LIBFUZZER)/fuzz $(SECONDS) $(LIBFUZZER)/corpora

# The tests that run on a GPU alone.
test-gpu: $(TESTS) $(PROGRAMS)
	@LA_TEST_DEVICE=cuda LA_PROGRAMS=$(BIN) $(TESTS) -ts=devices,training,networks

# Whether cuDNN has an engine for each convolution of the networks, on GPUs that need not be there.
test-cudnn: $(PROBE_CUDNN)
	@$(PROBE_CUDNN) $(VERBOSE) $(CUDNN_GPUS)

# Whether the compiler has kept 16-byte stores whole (cuobjdump and nvdisasm: in the CUDA toolkit, or PyPI's nvidia-cuda-cuobjdump
# and -nvdisasm).
CUOBJDUMP ?= cuobjdump
test-machine-code: $(KERNELS:%.cu=$(BUILD)/%.o)
	@sh tests/check_machine_code.sh $(CUOBJDUMP) $^

# Whether the tests of kernels find every barrier that is left out.
test-barriers: $(EMULATED_TESTS)
	@sh tests/check_barriers.sh $(EMULATED_TESTS)

# Whether the bundle's run-all ends with its table, whatever its programs do.
test-bundle:
	@sh tests/check_run_all.sh

# The same tests under AddressSanitizer and UndefinedBehaviorSanitizer.
test-sanitize:
	@$(MAKE) --no-print-directory BUILD=build/sanitize OPTIMIZE=-O1 \
	   SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined" test fuzz

# Kills, full disks, flipped bytes and wrong calls, for so many seconds (an hour): after each, the same bytes in the end.
campaign: $(PROGRAMS)
	@PROGRAMS=$(BIN) bash tests/campaign.sh $(SECONDS)

SOURCES := $(sort $(wildcard $(foreach d,$(FLOORS) tensor/cuda tensor/cuda/emulated apps apps/netcdf apps/options apps/run apps/page tests tests/fuzz tests/cudnn bench docs examples tensor/cpu/variants,$(d)/*.h $(d)/*.cpp $(d)/*.cu)))
check: check-floors check-docs check-tidy
	@$(CLANG_FORMAT) --dry-run -Werror $(SOURCES) && echo "format: $(words $(SOURCES)) files are in order"
# What .clang-tidy lists. A source is looked at again when it was compiled again.
TIDY := $(patsubst %.cpp,$(BUILD)/tidy/%.ok,$(filter-out tensor/cpu/variants/%,$(LIB_SOURCES) $(CPU_SOURCES)) $(APP_MAINS) $(APP_SHARED) $(NETCDF_SOURCE))
check-tidy: $(TIDY)
	@echo "clang-tidy: $(words $(TIDY)) sources are in order"
$(BUILD)/tidy/%.ok: $(BUILD)/%.o .clang-tidy
	@mkdir -p $(@D)
	@$(CLANG_TIDY) --quiet $*.cpp -- -std=c++20 -I. -fopenmp -march=native $(CODEC_FLAGS) $(PAGE_FLAGS) $(if $(MPI_INCLUDE),-isystem $(MPI_INCLUDE)) > $@.log 2> /dev/null || { cat $@.log; exit 1; }
	@touch $@
check-floors:
	@sh tests/check_floors.sh
	@sh tests/test_check_floors.sh
check-docs:
	@sh tests/check_docs.sh
	@sh tests/test_check_docs.sh
format:
	@$(CLANG_FORMAT) -i $(SOURCES)

# One folder, and an archive of it, that runs where nothing can be installed but a GPU's driver.
BUNDLE := build/la-bundle
bundle:
	@$(MAKE) --no-print-directory BUILD=build/portable MARCH=x86-64-v3 CUDA=1 WEBP=0 TIFF=0 HEIF=0 AVIF=0 NETCDF=0 \
	   build/portable/la_train build/portable/la_eval build/portable/run_tests build/portable/bench_gpu build/portable/bench_ops \
	   build/portable/libkernel_times.so
	@sh bundle/make_bundle.sh build/portable $(BUNDLE)

# ---- Installing ------------------------------------------------------------------------------------------------------

PREFIX ?= /usr/local
VERSION := $(shell sed -n 's/.*version = "\(.*\)";/\1/p' tensor/version.h)
# Before 1.0 each minor version may change the interface.
SONAME := libla.so.$(basename $(VERSION))
SHARED := $(BUILD)/libla.so.$(VERSION)

$(BUILD)/libla.a: $(LIB_OBJECTS) $(DEVICE)
	@rm -f $@
	@ar rcs $@ $^
$(SHARED): $(LIB_OBJECTS) $(DEVICE)
	@echo "  link     $@"
	@$(LINK) -shared -Wl,-soname,$(SONAME) -Wl,-z,defs -o $@ $^ $(LIBRARIES) $(LDLIBS)
libraries: $(BUILD)/libla.a $(SHARED)

# For any CPU of x86-64-v3, unless MARCH says for which.
INSTALL := build/install
install:
	@$(MAKE) --no-print-directory BUILD=$(INSTALL) PIC=-fPIC MARCH=$(if $(filter file default,$(origin MARCH)),portable,$(MARCH)) programs libraries
	@sh install/install.sh $(INSTALL) "$(DESTDIR)" "$(PREFIX)" $(VERSION) $(SONAME) "$(strip $(LIBRARIES))"

# For a debugger: not optimized, in a folder of its own.
debug:
	@$(MAKE) --no-print-directory BUILD=build/debug OPTIMIZE=-O0 DEBUG=-g programs

bench: $(BENCHES)
	@sh bench/run_all.sh $(BUILD)

# The steps of docs/fast.md.
bench-tour: $(BUILD)/bench_tour
	@echo "machine   $$(grep -m 1 'model name' /proc/cpuinfo | cut -d: -f2 | tr -s ' '), $$(nproc) cores"
	@$(BUILD)/bench_tour $(TURNS)

# The authors' ablations in proportion, some hours; what is there is not done again.
ablations: programs
	@sh bench/ablations.sh > docs/ablations.md.new && mv docs/ablations.md.new docs/ablations.md

# Whether what LA has learnt helps to find objects: ten minutes; what is there is not done again.
detection: programs $(DETECTION_WORLD)
	@BUILD=$(BUILD) sh bench/detection.sh

clean:
	rm -rf $(BUILD) $(PROGRAMS)

help:
	@echo "make deps           install the packages that are missing (Debian; with sudo unless root)"
	@echo "make check-deps     install what 'make check' needs"
	@echo "make                build the programs: $(PROGRAMS:./%=%)"
	@echo "make test           build and run the tests"
	@echo "make test-gpu       those that run on a GPU, on it alone"
	@echo "make test-cudnn     whether cuDNN has an engine for each convolution; VERBOSE=-v shows all"
	@echo "make test-install   whether the examples build against an installed library, and reach their accuracies"
	@echo "make test-machine-code  whether 16-byte stores of kernels are whole; needs cuobjdump"
	@echo "make test-barriers  whether the tests of CUDA kernels find every missing barrier"
	@echo "make test-bundle    whether the bundle's script ends in time, whatever its programs do"
	@echo "make bundle         a folder to carry to a GPU where nothing can be installed"
	@echo "make fuzz           give the readers of files changed files; SECONDS=60: each for so long, by libFuzzer of clang++"
	@echo "make test-sanitize  tests and fuzz under AddressSanitizer and UBSan"
	@echo "make campaign       kill a training, fill its disk, flip bytes, for an hour or SECONDS=n: the same bytes in the end"
	@echo "make check          formatting, the order of the floors, what the documents say of the code, clang-tidy"
	@echo "make format         lay out the sources with clang-format"
	@echo "make install        programs, library, headers into PREFIX (/usr/local), below DESTDIR if that is given; for any CPU"
	@echo "                    with AVX2 and FMA, unless MARCH names one"
	@echo "make debug          the programs for a debugger, in build/debug"
	@echo "make detection      compare detectors on a small world: weights of LA, and random ones"
	@echo "make bench          measure, beside PyTorch and faiss where they are installed"
	@echo "make bench-tour     measure the steps of docs/fast.md; TURNS=20: the least time of so many"
	@echo "make ablations      the authors' ablations in proportion, on Fashion-MNIST (about an hour): docs/ablations.md"
	@echo "make clean          remove what was built"
	@echo "variables           CXX, CXXFLAGS, LDFLAGS, MARCH (native, portable), OPTIMIZE (-O3), BUILD (build); CUDA (1, 0), CUDA_ARCH (\"80 90 90+PTX\");"
	@echo "                    WEBP, TIFF, HEIF, AVIF (0 leaves a kind of picture out); NETCDF; MPI (0: one process)"
