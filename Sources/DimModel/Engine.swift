import DimKernels
import DimOperators

/// What the library computes with, for people.
package enum Engine {
    /// "avx512 kernels, winograd convolution"
    package static var description: String {
        "\(DimKernels.selected.name) kernels, \(Convolution.isForcedDirect ? "direct" : "winograd") convolution"
    }
}
