#!/usr/bin/env bash
# Checks what the built library promises a C programmer: its exports are the header's functions, no Swift library is
# needed, it is small, stripped and hardened, and it loads in an empty environment.
# usage: tools/check/library.sh build/libdim.so include/dim.h
set -euo pipefail
library=$1
header=$2

passed=0
failed=0
check() { # what, command...
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'not so: %s\n' "$what" >&2
    fi
}

declared() {
    cc -E -P "$header" | tr '\n' ' ' | tr ';' '\n' | grep -v typedef | grep -o '\bdim_[a-z0-9_]* *(' | tr -d ' (' | sort -u
}
# Without versions, which `make abi-check` compares, and without their names, which GNU ld makes symbols.
exported() { nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $NF); print $NF }' | sort -u; }
same_symbols() {
    local missing extra
    missing=$(comm -23 <(declared) <(exported))
    extra=$(comm -13 <(declared) <(exported))
    [ -z "$missing" ] || printf 'declared in %s, not exported: %s\n' "$header" "$(xargs <<<"$missing")" >&2
    [ -z "$extra" ] || printf 'exported, not declared in %s: %s\n' "$header" "$(xargs <<<"$extra")" >&2
    [ -z "$missing$extra" ]
}
only_dim() { ! exported | grep -v '^dim_'; }
no_swift() { ! ldd "$library" | grep -i 'swift\|foundation\|dispatch'; }
all_found() { ! ldd "$library" | grep 'not found'; }
small() { [ "$(stat -L -c %s "$library")" -lt 10000000 ]; }
stripped() { ! readelf -SW "$library" | grep '\.symtab\|\.debug_'; }
major() { awk '/define DIM_VERSION_MAJOR/ { print $3 }' "$header"; }
soname() { readelf -dW "$library" | grep -q "SONAME.*\[libdim\.so\.$(major)\]"; }
flag() { readelf -dW "$library" | grep -q "FLAGS_1.*$1"; }
relro() { readelf -lW "$library" | grep -q GNU_RELRO; }
no_text_relocations() { ! readelf -dW "$library" | grep TEXTREL; }
no_executable_stack() { readelf -lW "$library" | grep GNU_STACK | grep -vq RWE; }
# RHEL 9, Amazon Linux 2023 and their kin have glibc 2.34 and the libstdc++ of GCC 11.
at_most() { # prefix, version
    local newest
    newest=$(readelf -VW "$library" | grep -oE "\b$1_[0-9.]*[0-9]" | cut -d _ -f 2 | sort -Vu | tail -n 1)
    [ -n "$newest" ] && [ "$(printf '%s\n' "$newest" "$2" | sort -V | tail -n 1)" = "$2" ] && return
    printf '%s_%s is needed for %s\n' "$1" "$newest" "$(nm -D "$library" | sed -n "s/.* U \(.*\)@$1_$newest$/\1/p" | xargs)" >&2
    return 1
}
loads_in_empty_environment() {
    local folder built
    folder=$(mktemp -d)
    built=$(realpath "$(dirname "$library")")
    printf '%s\n' '#include <dim.h>' '#include <stdio.h>' 'int main(void) { return puts(dim_version()) < 0; }' >"$folder/main.c"
    cc -std=c99 -I"$(dirname "$header")" "$folder/main.c" -o "$folder/main" "$library" -Wl,-rpath,"$built" &&
        [ "$(env -i "$folder/main")" = "$(awk '/define DIM_VERSION_/ { printf "%s%s", dot, $3; dot = "." }' "$header")" ]
    local status=$?
    rm -rf "$folder"
    return $status
}

check "exports nothing but dim_*" only_dim
check "exports what the header declares, and that alone" same_symbols
check "needs no Swift library" no_swift
check "finds every library it needs" all_found
check "is smaller than 10 MB" small
check "is stripped" stripped
check "its soname is libdim.so.$(major)" soname
check "needs glibc 2.34 at most" at_most GLIBC 2.34
check "needs libstdc++ of GCC 11 at most" at_most GLIBCXX 3.4.29
check "stays loaded after dlclose" flag NODELETE
check "binds when loaded" flag NOW
check "has read-only relocations" relro
check "has no relocations in its code" no_text_relocations
check "has no executable stack" no_executable_stack
check "a C program linked with it runs in an empty environment" loads_in_empty_environment
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
