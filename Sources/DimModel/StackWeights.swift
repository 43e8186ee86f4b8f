import DimOperators
import DimRuntime

/// A stack's weights as its operators read them: packed for products, biases padded to whole blocks. Made once for the
/// passes of inference, and anew for every micro-batch of training.
package final class StackWeights: @unchecked Sendable {
    /// Weights for the gradients of inputs: in another order.
    package enum GradientWeights {
        case none
        case beside
        /// In the place of the forward ones, once the backward pass asks for them: less memory, for a stack that runs forward
        /// and backward once between two calls of `prepare`.
        case instead
    }

    private let stack: Stack
    private let gradientWeights: GradientWeights
    /// Where those for gradients are in the place of the forward ones.
    private var replaced: Set<Int> = []
    /// How products go forward with them.
    package let direction: PatchConvolution.Direction
    /// Of the products with them.
    package let precision: Precision
    private let forward: [Buffer]
    private let dataGradient: [Buffer]
    private let bias: [Buffer?]

    /// Contents come with `prepare`.
    package init(
        _ stack: Stack, _ direction: PatchConvolution.Direction = .training, precision: Precision = .float32,
        gradientWeights: GradientWeights
    ) throws {
        self.stack = stack
        self.direction = direction
        self.precision = precision
        self.gradientWeights = gradientWeights
        let operators = stack.convolutions.map(\.operator)
        forward = try operators.map {
            let count = $0.packedCount(direction)
            return try Buffer(
                uninitialized: gradientWeights == .instead ? max(count, $0.packedCount(.dataGradient)) : count)
        }
        dataGradient =
            gradientWeights == .beside
            ? try operators.map { try Buffer(uninitialized: $0.packedCount(.dataGradient)) } : []
        bias = try stack.convolutions.map { convolution in
            guard convolution.bias != nil else { return nil }
            return try Buffer(zeros: Activation.blocks(convolution.operator.output.channels) * 16)
        }
    }

    package func prepare(_ state: NetworkState) {
        replaced = []
        for (index, convolution) in stack.convolutions.enumerated() {
            let weights = state.pointer(convolution.weight)
            convolution.operator.pack(weights, direction, precision: precision, into: forward[index].pointer)
            if !dataGradient.isEmpty {
                convolution.operator.pack(
                    weights, .dataGradient, precision: precision, into: dataGradient[index].pointer)
            }
            if let id = convolution.bias, let padded = bias[index] {
                padded.pointer.update(from: state.pointer(id), count: convolution.operator.output.channels)
            }
        }
    }

    /// Made at first use by any thread and kept with the state; for training mode once more where that reads others.
    package static func prepared(
        _ stack: Stack, _ state: NetworkState, training: Bool = false
    ) throws -> StackWeights {
        let training = training && !stack.trainsAlike
        return try state.prepared(training ? .packedForTraining : .packed) {
            let weights = try StackWeights(stack, training ? .training : .forward, gradientWeights: .none)
            weights.prepare(state)
            return weights
        }
    }

    package func packed(_ index: Int) -> UnsafePointer<Float> {
        assert(!replaced.contains(index), "the forward weights have been replaced")
        return UnsafePointer(forward[index].pointer)
    }

    /// `state` is that of `prepare`.
    package func packedForGradient(_ index: Int, _ state: NetworkState) -> UnsafePointer<Float> {
        guard gradientWeights == .instead else { return UnsafePointer(dataGradient[index].pointer) }
        if replaced.insert(index).inserted {
            let convolution = stack.convolutions[index]
            convolution.operator.pack(
                state.pointer(convolution.weight), .dataGradient, precision: precision, into: forward[index].pointer)
        }
        return UnsafePointer(forward[index].pointer)
    }

    package func bias(_ index: Int) -> UnsafePointer<Float>? { bias[index].map { UnsafePointer($0.pointer) } }
}
