import DimOperators
import DimRuntime

/// Where a network's pass gets a convolution's prepared weights: from what inference keeps, or, in training, transformed
/// anew. What it returns is valid until the next call.
typealias WeightsSource = (
    _ layer: String, ConvolutionShape, ConvolutionDirection, _ weights: UnsafePointer<Float>
) throws -> ConvolutionWeights

/// Prepares each convolution's weights just before they are used, all in one place: in training they change with every step,
/// and no two are needed at once. The largest takes 34 MB.
final class TransientWeights {
    private var storage: Buffer?

    var source: WeightsSource {
        { _, shape, direction, pointer in
            let algorithm = Convolution.algorithm(shape, direction)
            let count = ConvolutionWeights.count(shape, algorithm, direction)
            if self.storage == nil || self.storage!.count < count {
                self.storage = nil
                self.storage = try Buffer(uninitialized: count)
            }
            let weights = ConvolutionWeights(shape, algorithm, direction, in: self.storage!)
            weights.prepare(from: pointer)
            return weights
        }
    }
}
