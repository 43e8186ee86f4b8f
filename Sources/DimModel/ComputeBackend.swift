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
    package static var complaints: [String] {
        [ThreadPool.complaint, DimKernels.complaint, Convolution.complaint].compactMap { $0 }
    }
}
