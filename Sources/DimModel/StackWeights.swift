import DimOperators
import DimRuntime

/// A stack's weights as its operators read them: packed for products, biases padded to whole blocks. Made once for the
/// passes of inference, and anew for every step of training.
package final class StackWeights: @unchecked Sendable {
    private let stack: Stack
    /// How products go forward with them.
    package let direction: PatchConvolution.Direction
    private let forward: [Buffer]
    private let dataGradient: [Buffer]
    private let bias: [Buffer?]

    /// Contents come with `prepare`.
    package init(_ stack: Stack, _ direction: PatchConvolution.Direction = .training, withGradient: Bool = true) throws
    {
        self.stack = stack
        self.direction = direction
        forward = try stack.convolutions.map { try Buffer(uninitialized: $0.operator.packedCount(direction)) }
        dataGradient =
            withGradient
            ? try stack.convolutions.map { try Buffer(uninitialized: $0.operator.packedCount(.dataGradient)) } : []
        bias = try stack.convolutions.map { convolution in
            guard convolution.bias != nil else { return nil }
            return try Buffer(zeros: Activation.blocks(convolution.operator.output.channels) * 16)
        }
    }

    package func prepare(_ state: NetworkState) {
        for (index, convolution) in stack.convolutions.enumerated() {
            let weights = state.pointer(convolution.weight)
            convolution.operator.pack(weights, direction, into: forward[index].pointer)
            if !dataGradient.isEmpty {
                convolution.operator.pack(weights, .dataGradient, into: dataGradient[index].pointer)
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
            let weights = try StackWeights(stack, training ? .training : .forward, withGradient: false)
            weights.prepare(state)
            return weights
        }
    }

    package func packed(_ index: Int) -> UnsafePointer<Float> { UnsafePointer(forward[index].pointer) }
    package func packedForGradient(_ index: Int) -> UnsafePointer<Float> { UnsafePointer(dataGradient[index].pointer) }
    package func bias(_ index: Int) -> UnsafePointer<Float>? { bias[index].map { UnsafePointer($0.pointer) } }
}
