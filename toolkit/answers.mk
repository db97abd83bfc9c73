# What the Azure Linux toolkit has and Millwright does not: each is answered with what replaces it.
#
#   answer_TARGET    the target ends with an error and this line
#   nothing_TARGET   the target has nothing to do, says so and succeeds
#   note_VARIABLE    the variable has no effect, which this line explains, before anything runs
#   plain_VARIABLE   a value that asks for what is so anyway, and is not worth a note
#   used_by_VARIABLE the only targets that look at it; elsewhere there is a note
#
# docs/azure.md shows these lines; a test compares.

# Targets: toolchain
answer_raw-toolchain := there is no bootstrap in containers; `make toolchain` makes the toolchain from the base distribution
answer_toolchain-input-srpms := the toolchain is not built from specs; `make input-srpms SRPM_PACK_LIST=...` packs the specs you name
answer_compress-toolchain-final-rpms := `make compress-toolchain` saves the toolchain
answer_copy-toolchain-rpms := the toolchain stays a repository of its own, TOOLCHAIN_RPMS_DIR; name both repositories where both are needed
answer_check-manifests := there are no manifests to compare; `make toolchain` resolves the lists in configs/ and fails where they do not hold
answer_check-x86_64-manifests := $(answer_check-manifests)
answer_check-aarch64-manifests := $(answer_check-manifests)
answer_validate-chroot := the worker is not listed by hand; `make chroot-tools` resolves its closure and fails where a requirement is open
answer_macro-tools := macros are those of the worker, where specs are read and built; `millwright shell PACKAGE -- rpm --showrc` shows them

# Targets: packages
answer_generate-versions-macros-file := one pass reads every spec with what it names of others; `millwright read` writes the facts, packages.json
answer_repo-query := `millwright fetch --dry-run` says what builds would take from the repositories, `millwright graph --provider CAPABILITY` who provides something
answer_containerized-rpmbuild := `millwright shell PACKAGE` enters the build root of a failed build, `millwright rerun PACKAGE` goes on from there
answer_containerized-rpmbuild-help := see `millwright shell --help`
answer_run-specarchchecker := `millwright plan` leaves out what is not for this architecture and names it (cause other-architecture with --json)
answer_license-check-img := images are not part of Millwright; `make license-check LICENSE_CHECK_DIRS=...` checks the packages of any directory
answer_sodiff-repo := a package whose soname changed sets off the builds that need it by itself; `millwright plan` names them and why
answer_sodiff-setup := $(answer_sodiff-repo)
answer_sodiff-check := $(answer_sodiff-repo)
answer_build-summary := every build ends with its summary; out/reports/latest (OUT_DIR) has it as a page, as data and as build_state.csv
answer_print-build-summary := $(answer_build-summary)
answer_built-packages-summary := BUILD_DIR/records holds what was built of what, one document a spec
answer_fake-built-packages-list := `make rpms-snapshot` lists what the specs make, and claims nothing of it to be built

# Targets: the tools
answer_go-tidy-all := nothing here is written in Go; `cargo fmt` and `cargo clippy` tidy
answer_go-mod-tidy := $(answer_go-tidy-all)
answer_go-fmt-all := $(answer_go-tidy-all)
answer_go-test-coverage := nothing here is written in Go; `cargo xtask test` runs every test
answer_package-toolkit := the programs in target/release need no toolkit around them; `make chroot-tools` makes the worker as one file beside them
answer_clean-go-tools := `cargo clean` removes what was compiled

# Targets: images
image_targets := image iso fetch-image-packages fetch-external-image-packages make-raw-image \
	validate-image-config meta-user-data initrd clean-imagegen
answer_images := images are not part of Millwright; an image tool takes its packages from OUT_DIR/RPMS, which is a repository
$(foreach target,$(image_targets),$(eval answer_$(target) := $$(answer_images)))

# Targets that find their work done
nothing_clean-cache-worker := no package manager keeps a cache in a worker here
nothing_clean-grapher-cache-worker := no package manager keeps a cache for the graph here
nothing_clean-precache := packages fetched in advance lie among the others; `make clean-cache` removes all of them
nothing_clean-macro-tools := no macros are taken out of the worker
nothing_clean-toolchain-containers := there are no containers

# Variables: what to build
note_CONFIG_FILE := image configurations are not read; name the packages in PACKAGE_BUILD_LIST
note_CONFIG_BASE_DIR := $(note_CONFIG_FILE)
note_CHECK_BUILD_RETRIES := tests that fail once are not tried again; TEST_RERUN_LIST runs them once more
plain_CHECK_BUILD_RETRIES := 0

# Variables: caching
note_DELTA_BUILD := every build is incremental, by content
plain_DELTA_BUILD := n
note_DELTA_FETCH := published packages are taken from the repositories of REPO_LIST, never in the place of a build that the plan asks for
plain_DELTA_FETCH := n
note_PRECACHER_NON_FATAL := what cannot be fetched in advance is told and never fatal; what builds need and cannot be fetched always is
plain_PRECACHER_NON_FATAL := y
note_HYDRATED_BUILD := packages count as built with the records that `make hydrate-rpms` puts back
plain_HYDRATED_BUILD := n
note_REBUILD_DEP_CHAINS := it has no effect in the Azure toolkit either
plain_REBUILD_DEP_CHAINS := y
note_QUICK_REBUILD_TOOLCHAIN := the toolchain is made from packages, which takes minutes and happens when their lists change
plain_QUICK_REBUILD_TOOLCHAIN := n
note_CACHE_DIR := `make hydrate-cached-rpms CACHED_PACKAGES_ARCHIVE=FILE` restores packages of other repositories
note_IMAGE_CACHE_SUMMARY := $(answer_images)
note_INITRD_CACHE_SUMMARY := $(answer_images)
used_by_LICENSE_CHECK_DIRS := license-check
plain_LICENSE_CHECK_MODE := none
used_by_LICENSE_CHECK_MODE := license-check license-check-pkg build-packages
used_by_LICENSE_CHECK_EXCEPTION_FILE := $(used_by_LICENSE_CHECK_MODE)
used_by_LICENSE_CHECK_NAME_FILE := $(used_by_LICENSE_CHECK_MODE)
used_by_TOOLCHAIN_ARCHIVE := hydrate-toolchain compress-toolchain
used_by_PACKAGE_ARCHIVE := hydrate-rpms compress-rpms hydrate-srpms compress-srpms
used_by_CACHED_PACKAGES_ARCHIVE := hydrate-cached-rpms compress-cached-rpms

# Variables: other repositories
note_PACKAGE_URL_LIST := repositories are named in configs/millwright.toml or by .repo files in REPO_LIST
note_SRPM_URL_LIST := source packages are made from the specs, not downloaded
note_USE_PREVIEW_REPO := name the preview repository in REPO_LIST
plain_USE_PREVIEW_REPO := n
note_RESOLVE_CYCLES_FROM_UPSTREAM := a cycle is always broken by an older package where the toolchain or a locked package is one; `millwright graph --cycles` shows how
plain_RESOLVE_CYCLES_FROM_UPSTREAM := n
note_IGNORE_VERSION_TO_RESOLVE_SELFDEP := a package that breaks a cycle must be of a version that fits
plain_IGNORE_VERSION_TO_RESOLVE_SELFDEP := n
note_STOP_ON_FETCH_FAIL := `make graph-cache` fails when a build root cannot be made up; a build never starts without all it needs
plain_STOP_ON_FETCH_FAIL := n
note_DAILY_BUILD_ID := name the daily build's repository by DAILY_BUILD_REPO or REPO_LIST
note_DAILY_BUILD_ID_UPDATE_MANIFESTS := there are no manifests to rewrite
plain_DAILY_BUILD_ID_UPDATE_MANIFESTS := y
note_DAILY_BUILD_SKIP_TOOLCHAIN_AUTO_CLEANUP := no daily build replaces the toolchain, so nothing is cleaned up for one
plain_DAILY_BUILD_SKIP_TOOLCHAIN_AUTO_CLEANUP := n

# Variables: sources
note_SOURCE_AUTH_MODE := source servers are asked anonymously, or with the certificate of TLS_CERT
plain_SOURCE_AUTH_MODE := anonymous
note_DOWNLOAD_SRPMS := source packages are made from the specs, and only where something changed
plain_DOWNLOAD_SRPMS := n
note_ALLOW_SRPM_DOWNLOAD_FAIL := $(note_SRPM_URL_LIST)
plain_ALLOW_SRPM_DOWNLOAD_FAIL := n

# Variables: toolchain and worker
note_REBUILD_TOOLCHAIN := the toolchain is made from the base distribution; `millwright toolchain --refresh` takes newer packages of it
plain_REBUILD_TOOLCHAIN := n
note_INCREMENTAL_TOOLCHAIN := the toolchain is made again package by package, where something changed
plain_INCREMENTAL_TOOLCHAIN := n
note_ALLOW_TOOLCHAIN_DOWNLOAD_FAIL := a toolchain that lacks packages is not used
plain_ALLOW_TOOLCHAIN_DOWNLOAD_FAIL := n
note_TOOLCHAIN_CONTAINER_ARCHIVE := there is no bootstrap in containers
note_TOOLCHAIN_SOURCES_ARCHIVE := it has no effect in the Azure toolkit either
note_TOOLCHAIN_MANIFEST := the toolchain is resolved from the lists in configs/, not from file names
note_WORKER_CHROOT_MANIFEST := the worker is resolved from the core list in configs/, not from file names
note_UPDATE_TOOLCHAIN_LIST := there are no manifests to rewrite
plain_UPDATE_TOOLCHAIN_LIST := n
note_CLEAN_TOOLCHAIN_CONTAINERS := there are no containers
plain_CLEAN_TOOLCHAIN_CONTAINERS := n
note_VALIDATE_TOOLCHAIN_GPG := apt verifies the base distribution's signatures, always; packages of other repositories are verified by gpgcheck of the configuration
plain_VALIDATE_TOOLCHAIN_GPG := y
note_TOOLCHAIN_GPG_VALIDATION_KEYS := keys are those of the base distribution's apt, and gpg-keys of each repository in the configuration
note_VALIDATE_IMAGE_GPG := $(answer_images)
note_IMAGE_GPG_VALIDATION_KEYS := $(answer_images)
note_REFRESH_WORKER_CHROOT := the worker is made again when its packages change, and at no other time
plain_REFRESH_WORKER_CHROOT := y
note_ALLOW_TOOLCHAIN_REBUILDS := a package of the tree may have a toolchain package's name, and is preferred to it
plain_ALLOW_TOOLCHAIN_REBUILDS := n

# Variables: analysis
note_NUM_OF_ANALYTICS_RESULTS := `make plan` cuts long lists and says so, `make analyze-built-graph` shows all

# Variables: identity, logging, tools
note_DIST_NAME_ABRV := DIST_TAG is what ends every release; macros of the distribution stand in the configuration
note_REBUILD_TOOLS := every call compiles what changed of Millwright
plain_REBUILD_TOOLS := n
note_BUILD_TOOLS_NONPROD := there is one build of the programs
plain_BUILD_TOOLS_NONPROD := n
note_LOG_COLOR := colours are used on a terminal alone; NO_COLOR=1 in the environment turns them off
plain_LOG_COLOR := auto
note_ENABLE_CPU_PROFILE := records hold the time and memory of each section of a build; `cargo xtask bench` measures the rest
plain_ENABLE_CPU_PROFILE := n
note_ENABLE_MEM_PROFILE := $(note_ENABLE_CPU_PROFILE)
plain_ENABLE_MEM_PROFILE := n
note_ENABLE_TRACE := every build writes a trace for Perfetto, out/reports/latest/trace.json (OUT_DIR)
plain_ENABLE_TRACE := n
note_ARCHIVE_TOOL := no program is started to compress

# Variables: directories of what there is not
note_MACRO_DIR := no macros are taken out of the worker
note_STATUS_FLAGS_DIR := no stamps decide what is done
note_TIMESTAMP_DIR := times stand in the records and reports
note_PROFILE_DIR := $(note_ENABLE_CPU_PROFILE)
note_TOOLS_DIR := programs are compiled below target/; CARGO_TARGET_DIR moves them
note_TOOL_BINS_DIR := $(note_TOOLS_DIR)
note_RESOURCES_DIR := what distinguishes a distribution stands in configs/
note_MANIFESTS_DIR := $(note_RESOURCES_DIR)
note_REPO_QUERY_DIR := $(answer_repo-query)
note_QUERY_CMD := $(answer_repo-query)
note_QUERY_INPUT_FILE := $(answer_repo-query)
note_QUERY_OUTPUT_FILE := $(answer_repo-query)

# Variables of containerized-rpmbuild; their names are common, so only the command line counts
container_variables := REPO_PATH MODE VERSION MOUNTS BUILD_MOUNT EXTRA_PACKAGES ENABLE_REPO KEEP_CONTAINER QUIET
$(foreach name,$(container_variables),$(eval note_$(name) := $$(answer_containerized-rpmbuild)))

# An architecture that is not this host's would give packages that nobody asked for.
refused_TARGET_ARCH := packages are built for the architecture of the host; run Millwright on a host of that architecture

ANSWERED := $(patsubst answer_%,%,$(filter answer_%,$(.VARIABLES)))
NOTHING := $(patsubst nothing_%,%,$(filter nothing_%,$(.VARIABLES)))
NOTED := $(patsubst note_%,%,$(filter note_%,$(.VARIABLES)))
PARTLY := $(patsubst used_by_%,%,$(filter used_by_%,$(.VARIABLES)))

.PHONY: $(ANSWERED) $(NOTHING)
$(ANSWERED):
	@printf '%s\n' $(call quote,$@: $(answer_$@)) >&2; exit 1

# The Azure toolkit has a target for each of its programs.
go-%:
	@printf '%s\n' $(call quote,$@: nothing here is written in Go; `make go-tools` compiles Millwright) >&2; exit 1

$(NOTHING):
	@printf '%s\n' $(call quote,$@: nothing to remove: $(nothing_$@)) >&2

# A target that nobody knows is told before the others are begun.
targets := $(HONOURED_TARGETS) $(ANSWERED) $(NOTHING)
strangers := $(filter-out $(targets) printvar-% go-%,$(MAKECMDGOALS))
ifneq ($(strangers),)
$(error $(shell awk -f $(call quote,$(dir $(MAKEFILE))nearest.awk) -v kind=target -v unknown=$(call quote,$(strangers)) -v known=$(call quote,$(targets))))
endif

# What is set: all that the command line sets, and of the environment what the toolkit's users set there.
typed := $(foreach name,$(filter-out -*,$(.VARIABLES)),$(if $(findstring command line,$(origin $(name))),$(name)))
exported := $(foreach name,$(filter-out $(container_variables),$(NOTED)) TARGET_ARCH,$(if $(findstring environment,$(origin $(name))),$(name)))
# name: its value, unless that asks for what is so anyway.
asks = $(filter-out $(plain_$(1)),$($(1)))

has_effect = $(HONOURED) TARGET_ARCH MILLWRIGHT SHELL MAKEFLAGS MAKEFILES GNUMAKEFLAGS
unknown := $(filter-out $(has_effect) $(NOTED),$(typed))
noted := $(foreach name,$(filter $(NOTED),$(typed)) $(exported),$(if $(call asks,$(name)),$(name)))
elsewhere := $(foreach name,$(PARTLY),$(if $(and $(call asks,$(name)),$(if $(filter $(used_by_$(name)),$(MAKECMDGOALS)),,y)),$(name)))
refused := $(if $(TARGET_ARCH),$(if $(filter-out $(shell uname -m),$(TARGET_ARCH)),TARGET_ARCH))

# Introspection shows values and needs no notes.
ifneq ($(filter-out $(INTROSPECTION) printvar-%,$(MAKECMDGOALS)),)
note = printf '%s\n' $(call quote,note: $(1));
# Where nothing else offers packages, what one of these needs of the tree would be missing.
hiding := $(and $(strip $(SRPM_PACK_LIST)),$(filter build-packages plan,$(MAKECMDGOALS)),$(if $(strip $(PACKAGE_BUILD_LIST)$(REPO_LIST)$(DAILY_BUILD_REPO)),,y))
notes := $(foreach name,$(noted),$(call note,$(name) has no effect: $(note_$(name)))) \
	$(foreach name,$(elsewhere),$(call note,$(name) has no effect on $(MAKECMDGOALS): only $(used_by_$(name)) look at it)) \
	$(if $(hiding),$(call note,SRPM_PACK_LIST hides all other specs and what they provide; PACKAGE_BUILD_LIST builds packages with what they need)) \
	$(if $(unknown),awk -f $(call quote,$(dir $(MAKEFILE))nearest.awk) -v kind=variable -v unknown=$(call quote,$(unknown)) -v known=$(call quote,$(HONOURED) $(NOTED) TARGET_ARCH);)
notes := $(strip $(notes))
ifneq ($(notes),)
$(shell { $(notes) } >&2)
$(if $(filter y,$(STOP_ON_WARNING)),$(error STOP_ON_WARNING=y makes an error of the notes above))
endif
endif
refuse = $(foreach name,$(refused),printf '%s\n' $(call quote,$(name)=$($(name)) is refused: $(refused_$(name))) >&2; exit 1; )
