# What ctest runs besides the Criterion programs. Append your block.

# ---- shape, simulation, fuzzing ---------------------------------------------
add_test(NAME shape COMMAND ${CMAKE_SOURCE_DIR}/tests/shape)
add_test(NAME shape_self_test
  COMMAND ${CMAKE_SOURCE_DIR}/tests/shape --self-test)
if(TARGET testlib)
  add_executable(sim tests/traffic/sim.c)
  target_link_libraries(sim PRIVATE testlib)
  add_test(NAME sim COMMAND sim --seed 1 --connections 300)
  add_executable(held tests/traffic/held.c)
  target_link_libraries(held PRIVATE testlib)
  add_test(NAME held COMMAND held 2000)
  # ctest -C full, which tools/test runs: about a minute on two cores
  if(NOT SANITIZE)
    add_test(NAME sim_100000 CONFIGURATIONS full
      COMMAND sim --seed 1000 --connections 100000 --jobs 2)
    set_tests_properties(sim_100000 PROPERTIES PROCESSORS 2 TIMEOUT 600)
    add_test(NAME held_100000 CONFIGURATIONS full COMMAND held)
  endif()
endif()
if(SANITIZE)
  foreach(src ${TEST_SRC})
    get_filename_component(name ${src} NAME_WE)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "LSAN_OPTIONS=\
suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
  endforeach()
endif()
find_program(CLANG clang)
if(CLANG AND NOT SANITIZE)
  add_test(NAME fuzz COMMAND ${CMAKE_SOURCE_DIR}/tests/fuzz/run 20)
  set_tests_properties(fuzz PROPERTIES
    ENVIRONMENT "FUZZ_BUILD=${CMAKE_BINARY_DIR}/fuzz;CLANG=${CLANG}"
    TIMEOUT 600)
endif()
# A bad link between two devices, for end-to-end tests.
add_executable(relay tests/e2e/relay.c)
target_link_libraries(relay PRIVATE netio)

# ---- e2e: real programs against Linux, in namespaces (root) ------------------
if(TARGET libstack)
  add_test(NAME interpose
    COMMAND ${CMAKE_SOURCE_DIR}/tests/interpose/run --build ${CMAKE_BINARY_DIR})
  set_tests_properties(interpose PROPERTIES RUN_SERIAL TRUE TIMEOUT 900)
  foreach(group transfer iperf server wire errors routed badlink quiet
      setup demo attack opening handed contract
      policy)
    add_test(NAME e2e_${group}
      COMMAND ${CMAKE_SOURCE_DIR}/tests/e2e/${group}.sh)
    set_tests_properties(e2e_${group} PROPERTIES
      ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}" SKIP_RETURN_CODE 77
      LABELS e2e RUN_SERIAL TRUE TIMEOUT 900)
  endforeach()
  # Debian's programs, one row each; writes tests/COMPATIBILITY.md.
  add_test(NAME programs COMMAND ${CMAKE_SOURCE_DIR}/tests/e2e/programs)
  set_tests_properties(programs PROPERTIES
    ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}" SKIP_RETURN_CODE 77
    LABELS e2e RUN_SERIAL TRUE TIMEOUT 900)
endif()

# ---- bench: the load generator, and whether every row gives a number ---------
file(GLOB BENCH_SRC CONFIGURE_DEPENDS tests/bench/*.c)
add_executable(bench-load ${BENCH_SRC})
target_link_libraries(bench-load PRIVATE Threads::Threads)
if(TARGET libstack)
  add_test(NAME bench_quick COMMAND ${CMAKE_SOURCE_DIR}/tools/bench --quick)
  set_tests_properties(bench_quick PROPERTIES
    ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}" SKIP_RETURN_CODE 77
    RUN_SERIAL TRUE TIMEOUT 600)
  add_test(NAME goodput_quick
    COMMAND ${CMAKE_SOURCE_DIR}/tests/bench/goodput --quick)
  set_tests_properties(goodput_quick PROPERTIES
    ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}" SKIP_RETURN_CODE 77
    RUN_SERIAL TRUE TIMEOUT 120)
endif()

# ---- scripts: packet scripts in virtual time, and the requirements table -----
file(GLOB SCRIPT_SRC CONFIGURE_DEPENDS tests/scripts/*.c)
add_executable(script_run ${SCRIPT_SRC})
target_link_libraries(script_run PRIVATE stack netio)
add_test(NAME scripts
  COMMAND script_run --strict ${CMAKE_SOURCE_DIR}/tests/scripts)
add_test(NAME scripts_self_test
  COMMAND ${CMAKE_SOURCE_DIR}/tests/scripts/selftest
    $<TARGET_FILE:script_run>)
if(CRITERION_FOUND)
  add_test(NAME compliance
    COMMAND ${CMAKE_SOURCE_DIR}/tests/scripts/compliance
      --build ${CMAKE_BINARY_DIR})
endif()
# Seeded defects, each of which a script must notice (takes half a minute).
if(NOT SANITIZE)
  add_test(NAME mutants
    COMMAND ${CMAKE_SOURCE_DIR}/tests/scripts/mutate --build ${CMAKE_BINARY_DIR})
  set_tests_properties(mutants PROPERTIES TIMEOUT 600)
endif()

# ---- model: lock, sleepers and watch, every interleaving (spin) --------------
add_test(NAME model COMMAND ${CMAKE_SOURCE_DIR}/tests/model/run)
set_tests_properties(model PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)

# The arena's allocator marks free memory for ASan in the process that frees
# it; where several processes share an arena, the marks of one are stale.
if(SANITIZE AND TARGET test_wait)
  set_property(TEST test_wait APPEND PROPERTY
    ENVIRONMENT "ASAN_OPTIONS=allow_user_poisoning=0")
endif()

# ---- deaths: processes killed and stopped, programs ended at any moment ------
if(TARGET testlib)
  add_executable(kill tests/unit/kill.c)
  target_link_libraries(kill PRIVATE testlib share PkgConfig::CRITERION)
  # Not with ASan: a worker stalls there before the first kill, not yet known
  # why.
  if(NOT SANITIZE)
    add_test(NAME kills COMMAND kill)
    set_tests_properties(kills PROPERTIES TIMEOUT 400)
  endif()
  # Threads of one process, for ThreadSanitizer, which Criterion cannot take.
  add_executable(race tests/unit/race.c)
  target_link_libraries(race PRIVATE share)
  add_test(NAME race COMMAND race)
endif()
if(TARGET libstack)
  add_executable(cost tests/e2e/cost.c)
  target_link_libraries(cost PRIVATE dl)
  add_test(NAME e2e_cost COMMAND ${CMAKE_SOURCE_DIR}/tests/e2e/cost.sh)
  set_tests_properties(e2e_cost PROPERTIES
    ENVIRONMENT "BUILD=${CMAKE_BINARY_DIR}" SKIP_RETURN_CODE 77
    LABELS e2e RUN_SERIAL TRUE TIMEOUT 300)
endif()

# ---- options: the table is complete and tests/OPTIONS.md says what it says ---
add_test(NAME options_table COMMAND ${CMAKE_SOURCE_DIR}/tests/options)

# ---- symbols: every call that must be taken over is ---------------------------
if(TARGET libstack)
  add_test(NAME symbols COMMAND ${CMAKE_SOURCE_DIR}/tests/interpose/symbols
    --build ${CMAKE_BINARY_DIR})
endif()
