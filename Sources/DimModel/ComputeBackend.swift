import DimKernels
import DimOperators
import DimRuntime

/// A description of kernels, convolution algorithm and threads, for `dim_build_info`.
package enum ComputeBackend {
    /// "avx512 kernels, winograd convolution"
    package static var description: String {
        "\(DimKernels.selected.name) kernels, \(Convolution.isForcedDirect ? "direct" : "winograd") convolution"
    }

    /// Values of the environment that are not understood and count for nothing.
    package static var faults: [String] {
        [ThreadPool.fault, DimKernels.fault, Convolution.fault].compactMap { $0 }
    }
}
