#!/usr/bin/env bash
# Runs the drivers; called by Tests/fuzz/fuzz.mk. README.md says what each finds.
#   run.sh short FOLDER SEED                           part of `make test`
#   run.sh long FOLDER SEED SEQUENCES FILES
#   run.sh guided FOLDER SEED SECONDS                  libFuzzer
#   run.sh sanitize-short FOLDER SEED                  part of `make test`
#   run.sh sanitize-address|sanitize-thread TESTS FOLDER SEED SEQUENCES
set -uo pipefail

mode=$1
export SWIFT_BACKTRACE=enable=no
# A report ends the program by a signal, so that the drivers tell whose code it was; a size that no allocator has is an
# error of the library's, not of the program.
export ASAN_OPTIONS=abort_on_error=1:handle_abort=0:handle_segv=0:handle_sigfpe=0:handle_sigbus=0:allocator_may_return_null=1
export LSAN_OPTIONS=suppressions=Tests/fuzz/lsan.txt:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=suppressions=Tests/fuzz/tsan.txt:die_after_fork=0:halt_on_error=0:allocator_may_return_null=1:report_signal_unsafe=0

failed=0
run() { "$@" || { failed=1; echo "failed: $*" >&2; }; }

# What reads a file, and the part of the mutants that it gets: checkpoints take long.
readers() { # FOLDER SEED FILES
    run "$1/files" --function dim_model_open --count "$3" --seed "$2"
    run "$1/files" --function dim_model_load --count $(($3 / 2)) --seed "$2"
    run "$1/files" --function dim_trainer_resume --count $(($3 / 50)) --seed "$2"
    run "$1/files" --function dim_classifier_trainer_resume --count $(($3 / 20)) --seed "$2"
    # Files of other architectures.
    run "$1/files" --function dim_model_open_with --corpus Tests/fuzz/corpus/architectures --count "$3" --seed "$2"
    run "$1/files" --function dim_trainer_resume_with --corpus Tests/fuzz/corpus/architectures --count $(($3 / 10)) --seed "$2"
    run "$1/files" --function dim_classifier_trainer_resume_with --corpus Tests/fuzz/corpus/architectures \
        --count $(($3 / 10)) --seed "$2"
    for function in dim_model_open dim_model_load; do
        run "$1/files" --function $function --corpus Tests/fuzz/corpus/safetensors --count "$3" --seed "$2" --strict
    done
}

case $mode in
short)
    run "$2/options" --count 200000 --seed "$3"
    run "$2/descriptions" --count 20000 --seed "$3"
    run "$2/sequences" --count 10000 --seed "$3"
    readers "$2" "$3" 2000
    run "$2/files" --function dim_model_open_with --untrusted --corpus Tests/fuzz/corpus/architectures --count 100 \
        --seed "$3" --strict
    run "$2/cycles" --count 4
    ;;
long)
    run "$2/options" --count $((100 * $5)) --seed "$3"
    run "$2/descriptions" --count $((10 * $5)) --seed "$3"
    run "$2/sequences" --count "$4" --seed "$3" --verbose
    readers "$2" "$3" "$5"
    for function in dim_model_open_with dim_model_load_with; do
        run "$2/files" --function $function --untrusted --count $(($5 / 20)) --seed "$3" --strict
    done
    for function in dim_model_open_with dim_trainer_resume_with dim_classifier_trainer_resume_with; do
        run "$2/files" --function $function --untrusted --corpus Tests/fuzz/corpus/architectures --count $(($5 / 6)) \
            --seed "$3" --strict
    done
    run "$2/cycles" --count 40
    ;;
guided)
    folder=$2 seed=$3 seconds=$4
    for target in files:dim_model_open files:dim_trainer_resume options: descriptions:; do
        program=${target%:*} function=${target#*:}
        work=$folder/guided/$program$function
        rm -rf "$work/found"
        mkdir -p "$work/found" "$work/corpus"
        inputs=$work/corpus
        case $program in
        files) inputs="$inputs Tests/fuzz/corpus" ;;
        options | descriptions) run "$folder/$program" --count 64 --seed "$seed" --write "$work/corpus" ;;
        esac
        # It continues after a crash, and collects. What it finds is judged below.
        DIM_FUZZ_FUNCTION=$function "$folder/$program-fuzzer" -fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 \
            -seed="$seed" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -max_len=400000 -detect_leaks=0 \
            -artifact_prefix="$work/found/" $inputs >"$work/log" 2>&1
        reached=$(grep -oE '^#[0-9]+: cov: [0-9]+' "$work/log" | tail -n 1)
        [ -n "$reached" ] || { failed=1; tail -n 5 "$work/log" >&2; }
        hdf5=0 other=0
        for file in "$work/found/"*; do
            [ -e "$file" ] || continue
            if [ "$program" = files ]; then
                "$folder/files" --function "$function" --replay "$file" >/dev/null 2>&1
                case $? in
                0) continue ;;
                102) hdf5=$((hdf5 + 1)); continue ;;
                esac
            fi
            other=$((other + 1))
            echo "found: $file; again: $folder/$program --function $function --replay $file" >&2
        done
        echo "libFuzzer, $program $function: $seconds s, $reached, $hdf5 crashes in libhdf5, $other other faults"
        [ $other = 0 ] || failed=1
    done
    ;;
sanitize-short)
    run "$2/options" --count 20000 --seed "$3"
    run "$2/descriptions" --count 2000 --seed "$3"
    run "$2/sequences" --count 2000 --seed "$3"
    run "$2/files" --function dim_model_open --count 500 --mend 0 --seed "$3"
    run "$2/files" --function dim_model_open --corpus Tests/fuzz/corpus/safetensors --count 2000 --seed "$3" --strict
    ;;
sanitize-address | sanitize-thread)
    # Not `untrusted` and `fork`: the reader of untrusted files is the library's file by itself, without the runtime of a
    # sanitizer; nor what lets allocations fail.
    for program in library architecture model parameters files opening threads trainer classifier_trainer; do
        printf '%s, %s: ' "${mode#sanitize-}" $program
        run "$2/$program"
    done
    run "$3/options" --count 100000 --seed "$4"
    run "$3/descriptions" --count 20000 --seed "$4"
    run "$3/sequences" --count "$5" --seed "$4"
    run "$3/files" --function dim_model_open --count 2000 --seed "$4"
    run "$3/files" --function dim_model_open --corpus Tests/fuzz/corpus/safetensors --count 20000 --seed "$4" --strict
    run "$3/cycles" --count 3
    ;;
esac
exit $failed
