// swift-tools-version: 6.0
import PackageDescription

// Dependencies point one way, the way of the data:
//   DimABI -> {DimTraining, DimFiles}; DimTraining -> DimModel -> DimOperators -> DimKernels -> DimKernels<ISA>;
//   all of them but the kernels -> DimRuntime -> DimArchitecture

/// Without the regular expressions that every module imports unasked: 1.2 MB of the library.
let lean = ["-Xfrontend", "-disable-implicit-string-processing-module-import"]

/// Every kernel module is compiled for one instruction set; the registry in DimKernels chooses among them at run time.
/// The flags must not leak: kernel modules export plain functions over pointers and share no generic code.
func kernelSettings(_ architecture: String?, _ more: String...) -> [SwiftSetting] {
    let march = architecture.map { ["-march=\($0)"] } ?? []
    return [.unsafeFlags(["-Ounchecked", "-wmo"] + (march + more).flatMap { ["-Xcc", $0] } + lean)]
}

let strict: [SwiftSetting] = [.unsafeFlags(["-warnings-as-errors"] + lean)]

let package = Package(
    name: "libdim",
    products: [
        .library(name: "dim", type: .dynamic, targets: ["DimABI"])
    ],
    targets: [
        .systemLibrary(name: "CDim", path: "include"),
        .systemLibrary(
            name: "CHDF5", path: "Sources/CHDF5", pkgConfig: "hdf5-serial", providers: [.apt(["libhdf5-dev"])]),
        .systemLibrary(name: "CZlib", path: "Sources/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CSystem", path: "Sources/CSystem"),
        // A process of its own for untrusted files.
        .target(name: "CIsolation", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"])]),

        // What Swift's runtime lacks: memory when there is none left, the right number of a thread after fork().
        .target(name: "CReserve", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"])]),

        // What a network is: values alone, no memory, no threads, no files.
        .target(name: "DimArchitecture", swiftSettings: strict),
        .target(name: "DimRuntime", dependencies: ["CReserve", "CSystem", "DimArchitecture"], swiftSettings: strict),
        // What a kernel is asked to do; and the kernels: DimKernels/Sources, which the link `Sources` in each instruction
        // set's folder compiles once more.
        .systemLibrary(name: "CVectors", path: "Sources/CVectors"),
        .target(name: "DimKernelTypes", swiftSettings: strict),
        .target(
            name: "DimKernelsBaseline", dependencies: ["CVectors", "DimKernelTypes"], swiftSettings: kernelSettings(nil)
        ),
        .target(
            name: "DimKernelsAVX2", dependencies: ["CVectors", "DimKernelTypes"],
            swiftSettings: kernelSettings("x86-64-v3")),
        .target(
            name: "DimKernelsAVX512", dependencies: ["CVectors", "DimKernelTypes"],
            swiftSettings: kernelSettings("x86-64-v4")),
        .target(
            name: "DimKernelsBFloat16", dependencies: ["CVectors", "DimKernelTypes"],
            swiftSettings: kernelSettings("x86-64-v4", "-mavx512bf16")),
        .target(
            name: "DimKernels",
            dependencies: [
                "CSystem", "DimKernelTypes", "DimKernelsBaseline", "DimKernelsAVX2", "DimKernelsAVX512",
                "DimKernelsBFloat16", "DimRuntime",
            ],
            exclude: ["Sources"], swiftSettings: strict),
        .target(
            name: "DimOperators", dependencies: ["DimArchitecture", "DimKernels", "DimRuntime"], swiftSettings: strict),
        .target(
            name: "DimModel", dependencies: ["DimArchitecture", "DimKernels", "DimOperators", "DimRuntime"],
            swiftSettings: strict),
        .target(
            name: "DimTraining",
            dependencies: ["DimArchitecture", "DimKernels", "DimModel", "DimOperators", "DimRuntime"],
            swiftSettings: strict),
        .target(
            name: "DimFiles",
            dependencies: ["CHDF5", "CIsolation", "CZlib", "CSystem", "DimArchitecture", "DimRuntime"],
            swiftSettings: strict),
        .target(
            name: "DimABI",
            dependencies: [
                "CDim", "DimArchitecture", "DimFiles", "DimModel", "DimOperators", "DimRuntime", "DimTraining",
            ],
            swiftSettings: strict),

        .executableTarget(
            name: "dim-kernel-bench",
            dependencies: ["DimArchitecture", "DimKernels", "DimOperators", "DimRuntime"],
            path: "Benchmarks/Kernels",
            swiftSettings: strict),

        .testTarget(name: "DimArchitectureTests", dependencies: ["DimArchitecture"]),
        .testTarget(name: "DimRuntimeTests", dependencies: ["DimRuntime"]),
        .testTarget(name: "DimKernelsTests", dependencies: ["DimKernels", "DimRuntime"]),
        .testTarget(
            name: "DimOperatorsTests", dependencies: ["DimArchitecture", "DimOperators", "DimKernels", "DimRuntime"]),
        .testTarget(
            name: "DimModelTests", dependencies: ["DimArchitecture", "DimModel", "DimOperators", "DimRuntime"]),
        .testTarget(
            name: "DimTrainingTests",
            dependencies: ["DimArchitecture", "DimModel", "DimOperators", "DimRuntime", "DimTraining"]),
        .testTarget(name: "DimFilesTests", dependencies: ["DimArchitecture", "DimFiles", "DimRuntime", "CHDF5"]),
    ],
    swiftLanguageModes: [.v5]
)
