import DimKernels

/// Of the products of a training step's score networks.
package enum Precision: Equatable {
    case float32
    /// The terms of products are rounded to bfloat16, their sums are float32, as in PyTorch's autocast; weights, their
    /// gradients and all that is no product stay float32.
    case mixed

    /// Whether this processor multiplies bfloat16, and the kernels in use do.
    package static var hasMixed: Bool { DimKernels.selected.bfloat16 != nil }
}
