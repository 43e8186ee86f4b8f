# libdim.a: a part of run.sh, which sources this in its folder, after `make static` and `make install`.

is "the archive" 0 "" test -f "$prefix/lib/libdim.a"
is "whose functions of dim.h alone are global" 0 "" diff <(nm -g --defined-only "$prefix/lib/libdim.a" | awk 'NF == 3 { print $3 }') \
    <(nm -D --defined-only before.so | awk '{ sub(/@.*/, "", $3); print $3 }')
private=$(pkg-config --libs hdf5-serial zlib)
is "C99, the archive linked" 0 "" bare cc -std=c99 $warnings -I"$prefix/include" clients/use.c -o use-static "$prefix/lib/libdim.a" \
    $private -lstdc++ -lm
is "it prints the same" 0 "$line" bare ./use-static weights.h5
is "and needs neither libdim.so nor Swift" 1 "" bash -c "ldd use-static | grep -iE 'libdim|swift'"
is "pkg-config tells what to link besides" 0 "-lhdf5" pkg-config --static --libs dim
is "C++ by CMake, the archive linked" 0 "" bash -c "sed 's/dim::dim)/dim::dim_static)/' clients/CMakeLists.txt >static.txt &&
    cp -r clients clients-static && mv static.txt clients-static/CMakeLists.txt &&
    env -i PATH='$PATH' HOME='$folder' cmake -S clients-static -B cmake-static -DCMAKE_PREFIX_PATH='$prefix' &&
    env -i PATH='$PATH' HOME='$folder' cmake --build cmake-static"
is "it prints the same" 0 "$line" bare cmake-static/use_cpp weights.h5
is "a plugin that holds it" 0 "" bare cc -shared -fPIC -std=c99 -I"$prefix/include" -Dmain=use clients/use.c -o plugin.so \
    "$prefix/lib/libdim.a" $private -lstdc++ -lm -Wl,-z,nodelete,-z,defs
printf '%s\n' '#include <dlfcn.h>' 'int main(int count, char **arguments) {' '    int (*use)(int, char **);' \
    '    void *plugin = dlopen("./plugin.so", RTLD_NOW);' '    *(void **)&use = plugin ? dlsym(plugin, "use") : 0;' \
    '    return use ? use(count, arguments) + dlclose(plugin) : 3;' '}' >host.c
is "its host" 0 "" bare cc host.c -o host -ldl
is "prints the same" 0 "$line" bare ./host weights.h5

# Untrusted files are read by libdim.so, executed by itself. A program that was linked with the archive would execute itself.
printf '%s\n' '#include <dim.h>' '#include <stdio.h>' 'int main(int count, char **arguments) {' '    dim_model *model = NULL;' \
    '    puts("started");' '    dim_open_options o = {sizeof o, true, false, 0, NULL, 0};' \
    '    dim_status status = dim_model_open_with(arguments[1], &o, &model);' '    puts(dim_last_error());' \
    '    return count != 2 || model != NULL || status != DIM_IO;' '}' >untrusted.c
for kind in -pie -no-pie; do
    is "C99, $kind, opens an untrusted file" 0 "" bare cc -std=c99 $warnings -fPIC $kind -I"$prefix/include" untrusted.c \
        -o "untrusted$kind" "$prefix/lib/libdim.a" $private -lstdc++ -lm
    is "it gets an error" 0 "here libdim is linked into the program" bare "./untrusted$kind" weights.h5
    is "and was started once" 0 "1" bash -c "./untrusted$kind weights.h5 | grep -c started"
done

# A Swift program has a runtime of its own, in which ours must not be found. (Swift comes with the build.)
printf '%s\n' 'import CDim' 'struct Own: Hashable { var number = 1 }' 'var model: OpaquePointer? = nil' \
    'let one = [Float](repeating: 0.5, count: 3072)' 'var encoded = [Float](repeating: 0, count: 64)' \
    'precondition(dim_model_create(3, &model) == DIM_OK && dim_encode(model, one, 1, &encoded, nil) == DIM_OK)' \
    'precondition(encoded[0] != 0 && Set([Own(), Own()]).count == 1 && (Own() as Any) is any Hashable)' >main.swift
swift_libraries=()
for flag in $private -lstdc++ -lm; do swift_libraries+=(-Xlinker "$flag"); done
is "a Swift program with the archive" 0 "" bare swiftc -module-cache-path modules -I "$top/include" main.swift "$prefix/lib/libdim.a" \
    "${swift_libraries[@]}" -o use-swift
is "runs" 0 "" bare ./use-swift
