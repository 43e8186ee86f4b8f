import DimArchitecture
import DimOperators
import DimRuntime

/// The indices of a layer's parameters within its network.
struct LayerIDs {
    let weight: Int
    let bias: Int

    init(_ ids: ParameterIDs, _ name: String) {
        weight = ids[name + ".weight"]
        bias = ids[name + ".bias"]
    }
}

/// The same of a batch norm.
struct NormIDs {
    let weight: Int
    let bias: Int
    let runningMean: Int
    let runningVariance: Int

    init(_ ids: ParameterIDs, _ name: String) {
        weight = ids[name + ".weight"]
        bias = ids[name + ".bias"]
        runningMean = ids[name + ".running_mean"]
        runningVariance = ids[name + ".running_var"]
    }
}

/// A convolution of a fused network.
package struct FusedConvolution: Sendable {
    /// Position among the network's convolutions.
    let index: Int
    let shape: ConvolutionShape
    let weight: Int
    let bias: Int

    init(_ index: Int, _ shape: ConvolutionShape, _ ids: ParameterIDs) {
        let layer = LayerIDs(ids, "c\(index)")
        self.index = index
        self.shape = shape
        weight = layer.weight
        bias = layer.bias
    }
}

/// Where a network's pass gets a convolution's prepared weights: from what inference keeps, or, in training, transformed
/// anew. What it returns is valid until the next call.
package typealias WeightsSource = (
    FusedConvolution, ConvolutionDirection, _ weights: UnsafePointer<Float>
) throws -> ConvolutionWeights

/// Forward weights of a network's convolutions, made ready once and kept: for inference.
package final class KeptWeights {
    private let layers: [ConvolutionWeights]

    /// direct: for convolutions as defined, whatever is fastest.
    init(_ state: NetworkState, _ convolutions: [FusedConvolution], direct: Bool = false) throws {
        layers = try convolutions.map { layer in
            let algorithm = direct ? .direct : Convolution.algorithm(layer.shape, .forward)
            let weights = try ConvolutionWeights(layer.shape, algorithm)
            weights.prepare(from: state.pointer(layer.weight))
            return weights
        }
    }

    package var source: WeightsSource { { layer, _, _ in self.layers[layer.index] } }

    subscript(_ layer: FusedConvolution) -> ConvolutionWeights { layers[layer.index] }
}

/// Prepares each convolution's weights just before they are used, all in one place: in training they change with every step,
/// and no two are needed at once. The largest takes 34 MB.
package final class TransientWeights {
    private var storage: Buffer?

    package init() {}

    package var source: WeightsSource {
        { layer, direction, pointer in
            let algorithm = Convolution.algorithm(layer.shape, direction)
            let count = ConvolutionWeights.count(layer.shape, algorithm, direction)
            if self.storage == nil || self.storage!.count < count {
                self.storage = nil
                self.storage = try Buffer(uninitialized: count)
            }
            let weights = ConvolutionWeights(layer.shape, algorithm, direction, in: self.storage!)
            weights.prepare(from: pointer)
            return weights
        }
    }
}
