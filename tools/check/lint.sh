#!/usr/bin/env bash
# The rules of CONTRIBUTING.md that a program can check. Prints what breaks them; silent about the rest.
set -uo pipefail
cd "$(dirname "$0")/../.."

git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { echo "lint: this is no git checkout; nothing was checked" >&2; exit 0; }

failures=0
broken() { # rule, what was found
    [ -z "$2" ] && return
    failures=$((failures + 1))
    printf 'lint: %s:\n%s\n' "$1" "$2" >&2
}
# Tracked files and new ones that git would take; links and deleted files left out.
files() { git ls-files -co --exclude-standard -- "$@" | while read -r f; do [ -f "$f" ] && [ ! -L "$f" ] && echo "$f"; done; }

python=.venv/bin/python
[ -x $python ] || python=python3

# ---- Every text file
text=$(files '*.swift' '*.c' '*.h' '*.cpp' '*.hpp' '*.py' '*.sh' '*.md' '*.toml' '*.map' '*.in' '*.cmake' '*.yml' '*.mk' Makefile \
    '*/Makefile' .ci/run)
broken "white space at the end of a line" "$(grep -nE '[[:blank:]]+$' $text /dev/null)"
broken "a tab outside a Makefile" "$(grep -nP '\t' $(grep -vE 'Makefile$|\.mk$' <<<"$text") /dev/null)"
broken "no newline at the end" "$(for f in $text; do [ -n "$(tail -c 1 "$f")" ] && echo "$f"; done)"
broken "a conflict that was not resolved" "$(grep -nE '^(<<<<<<<|>>>>>>>) ' $text /dev/null)"
sources=$(files '*.swift' '*.c' '*.h' '*.cpp' '*.hpp' '*.py' '*.sh')
broken "a source file of more than 600 lines that is neither generated nor a public header" "$(for f in $sources; do
    [[ $f == include/* ]] && continue       # one file each: that is what a program includes
    lines=$(wc -l <"$f")
    case $f in include/*) continue ;; esac  # a header is a manual as well: one page for all
    [ "$lines" -gt 600 ] && ! head -n 5 "$f" | grep -qiE "generated|written by tools/" && echo "$f: $lines"; done)"
broken "a line of more than 140 characters" "$(grep -nE '^.{141,}' $sources Makefile | cut -c 1-100)"
broken "something other than ASCII in the header or a C program" \
    "$(grep -nP '[^\x00-\x7F]' $(files 'include/*.h' '*.hpp' '*.c' '*.cpp') /dev/null)"

# ---- Swift
if swift format --version >/dev/null 2>&1; then
    broken "Swift format (make format fixes most of it)" \
        "$(swift format lint --strict --parallel -r Package.swift $(files '*.swift' | grep -v '^Package.swift$') 2>&1)"
else
    echo "lint: this toolchain has no 'swift format'; Swift sources were not checked" >&2
fi
library_sources=$(files 'Sources/*.swift')
broken "Foundation or Dispatch in the library: see docs/design.md" \
    "$(grep -nE '^ *(@[a-zA-Z_]+ +)?import (Foundation|Dispatch)' $library_sources /dev/null)"
broken "a print or an abort in the library" \
    "$(grep -nE '(^|[^A-Za-z_."`])(print|debugPrint|fatalError|abort|exit)\(' $library_sources /dev/null)"

broken "dependencies that differ between Package.swift, the sources and CONTRIBUTING.md" "$($python tools/check/swift_modules.py 2>&1)"

# ---- The header, as every kind of C and C++ that users compile
header_compiles() {
    local compiler language standard
    for compiler in cc c++ clang; do
        command -v $compiler >/dev/null || continue
        for standard in c99 c11 c17 c++11 c++17 c++20; do
            language=c
            [[ $standard == c++* ]] && language=c++
            [ $compiler = c++ ] && [ $language = c ] && continue
            [ $compiler = cc ] && [ $language = c++ ] && continue
            [ $compiler = clang ] && ! echo 'int a;' | clang -fsyntax-only -x $language - 2>/dev/null && continue
            printf '#include <dim.h>\n#include <dim.h>\nint main(void);\n' |
                $compiler -std=$standard -Wall -Wextra -Werror -pedantic -Iinclude -x $language -fsyntax-only - 2>&1
        done
    done
}
broken "include/dim.h does not compile without a warning" "$(header_compiles)"
wrapper_compiles() {
    local compiler standard
    for compiler in c++ clang++; do
        command -v $compiler >/dev/null || continue
        echo '#include <string>' | $compiler -fsyntax-only -x c++ - 2>/dev/null || continue
        for standard in c++17 c++20; do
            printf '#include <dim.hpp>\n#include <dim.hpp>\nint main() { return dim::num_threads(); }\n' |
                $compiler -std=$standard -Wall -Wextra -Wshadow -Wconversion -Werror -pedantic -Iinclude -x c++ -fsyntax-only - 2>&1
        done
    done
}
broken "include/dim.hpp does not compile without a warning" "$(wrapper_compiles)"

block() { sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" README.md | grep -v '^```'; }
broken "the C of README.md does not compile" \
    "$(block c | cc -std=c99 -Wall -Wextra -Werror -pedantic -Iinclude -x c -fsyntax-only - 2>&1)"
broken "the C++ of README.md does not compile" \
    "$(block cpp | c++ -std=c++17 -Wall -Wextra -Werror -pedantic -Iinclude -x c++ -fsyntax-only - 2>&1)"

# ---- Scripts, and versions that must agree
broken "a shell script that does not parse" "$(for f in $(files '*.sh') .ci/run; do bash -n "$f" 2>&1; done)"
broken "a Python file that does not parse" "$(files '*.py' | while read -r f; do
    $python -c 'import ast, sys; ast.parse(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1])' "$f" 2>&1; done)"
if $python -c 'import mypy' 2>/dev/null; then
    broken "a type that does not fit (mypy --strict)" \
        "$($python -m mypy --config-file bindings/python/pyproject.toml --cache-dir build/mypy 2>&1 | grep -v '^Success')"
else
    echo "lint: mypy is missing, which make deps installs; the Python package's types were not checked" >&2
fi
if $python -c 'import ruff' 2>/dev/null; then
    broken "Python that is not formatted (make format)" \
        "$($python -m ruff format --check --quiet --config bindings/python/pyproject.toml --no-cache $(files '*.py') 2>&1)"
else
    echo "lint: ruff is missing, which make deps installs; the format of Python was not checked" >&2
fi
broken "a module of the Python package outside the order of its levels" "$($python tools/check/python_levels.py 2>&1)"
bounds=$(grep -oHE 'numpy>=[0-9.]+' $(files '*.toml' '*requirements*.txt'))
broken "bounds of numpy that differ" "$([ "$(cut -d : -f 2 <<<"$bounds" | sort -u | wc -l)" = 1 ] || echo "$bounds")"
broken "Swift that its generator would write otherwise" "$($python tools/build/winograd_transforms.py --check 2>&1)"
broken "the Python of README.md does not parse" "$(block python | $python -c 'import ast, sys; ast.parse(sys.stdin.read())' 2>&1)"
version=$(awk '/define DIM_VERSION_(MAJOR|MINOR|PATCH)/ { printf "%s%s", dot, $3; dot = "." }' include/dim.h)
broken "CHANGELOG.md has no section for version $version of include/dim.h" \
    "$(grep -q "^## $version" CHANGELOG.md || echo CHANGELOG.md)"
binding=bindings/python/deepinfomax/_version.py
broken "$binding has another major and minor version than include/dim.h ($version)" \
    "$(grep '^__version__' $binding | grep -v "\"${version%.*}\.")"

[ "$failures" = 0 ] || { echo "lint: $failures rules broken" >&2; exit 1; }
