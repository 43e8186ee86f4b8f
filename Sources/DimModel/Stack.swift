import DimArchitecture
import DimOperators
import DimRuntime

/// Layers one after another, as one network or a part of it computes them: built once from the architecture, never changed.
/// `StackPass` runs it. Parameters are indices into the network's specs.
package final class Stack: @unchecked Sendable {
    /// What follows an operator: normalisation, then activation.
    package enum Norm {
        case none
        case batch(ActivationBatchNorm, weight: Int, bias: Int, mean: Int, variance: Int, counter: Int)
        case layer(ActivationLayerNorm, weight: Int, bias: Int)

        package var isBatch: Bool { if case .batch = self { true } else { false } }
    }

    package indirect enum Operation {
        /// Linear layers are convolutions of maps of one pixel. `index` numbers the stack's convolutions.
        case convolution(PatchConvolution, index: Int, weight: Int, bias: Int?)
        case pooling(Pooling)
        case flatten
        case dropout(Dropout)
        case residual(children: [Node], shortcut: Node?)
    }

    package struct Node {
        package let operation: Operation
        package let norm: Norm
        package let activation: Layer.Activation?
        package let input: MapShape
        package let output: MapShape
        /// Position among all nodes of the stack, children included.
        package let index: Int
        package let slots: BufferSlots<Slot>

        /// Where the gradient of its output is, if another layer of the stack makes it.
        var gradientSlot: BufferSlot

        /// Whether its output is memory of its own that its backward pass does not read: who comes after may write over it.
        package var outputIsFree: Bool {
            if case .dropout = operation { false } else { activation == nil }
        }

        /// Whether it is a residual block whose activation follows the sum at once.
        var activatesSum: Bool {
            if case .residual = operation, case .none = norm { true } else { false }
        }

        /// Whether it is a matrix product and what can be done as that ends: in evaluation mode batch norm is.
        func isOneProduct(_ isTraining: Bool) -> Bool {
            guard case .convolution = operation else { return false }
            return switch norm {
            case .none: true
            case .batch: !isTraining
            case .layer: false
            }
        }

        /// Whether its backward pass does not change the gradient of its output.
        var keepsOutputGradient: Bool {
            if case .convolution = operation, case .none = norm { activation == nil } else { false }
        }
    }

    /// A node's memory. The operator and the norm of a node may run in one step: none of them shares a slot.
    package enum Slot: Int, CaseIterable {
        /// The operator's output, which the norm reads, forward and backward.
        case beforeNorm
        /// After norm and activation.
        case output
        /// Of `output`.
        case gradient
        /// The norm's: batch norm's scale and shift in evaluation mode, LayerNorm's mean and 1 / std.
        case normStatistics
        /// Dropout's.
        case mask
        /// A max pool's, in training mode.
        case indices
        /// A second gradient: of a residual block's output, for its shortcut; of the input, where an operator cannot add.
        case gradientCopy
    }

    /// The stack's own.
    package enum StackSlot: Int, CaseIterable {
        /// What its convolutions need, one after another.
        case scratch
    }

    package let network: Network
    package let nodes: [Node]
    package let input: MapShape
    package let output: MapShape
    package let convolutions: [(operator: PatchConvolution, weight: Int, bias: Int?)]
    package let slots: BufferSlots<StackSlot>
    /// By index: every node, children and shortcuts included.
    package let all: [Node]
    let evaluationMemory: EvaluationMemory

    /// Whether weights packed for evaluation serve training mode as well.
    var trainsAlike: Bool { convolutions.allSatisfy(\.operator.trainsAlike) }

    /// `keeping`: positions of layers whose outputs are read after a pass in evaluation mode, besides the last one's.
    package init(
        _ network: Network, _ layers: [ResolvedLayer], input: MapShape, _ ids: ParameterIDs, _ slots: inout SlotCounter,
        keeping: [Int] = []
    ) {
        var builder = Builder(ids: ids, slots: slots)
        nodes = layers.map { builder.node($0) }
        self.network = network
        self.input = input
        output = nodes.last?.output ?? input
        convolutions = builder.convolutions
        all = builder.all
        slots = builder.slots
        self.slots = slots.take()
        evaluationMemory = EvaluationMemory(nodes, keeping: keeping)
    }

    /// Whether training mode computes something else: batch statistics, dropout.
    package var dependsOnMode: Bool {
        all.contains { node in
            switch node.operation {
            case .dropout: true
            case .convolution, .pooling, .flatten, .residual: node.norm.isBatch
            }
        }
    }

    /// Whether a block of the input that holds no channel is read.
    var readsEmptyBlocks: Bool {
        guard case .convolution(let convolution, _, _, _) = nodes.first?.operation else { return true }
        return convolution.readsEmptyBlocks
    }

    private struct Builder {
        let ids: ParameterIDs
        var slots: SlotCounter
        var convolutions: [(operator: PatchConvolution, weight: Int, bias: Int?)] = []
        var all: [Node] = []

        mutating func node(_ resolved: ResolvedLayer) -> Node {
            let layer = resolved.layer
            let operation: Stack.Operation
            switch layer.op {
            case .conv, .linear:
                let convolution = PatchConvolution(
                    input: resolved.input, outputs: resolved.output.channels,
                    kernel: (layer.kernel.rows, layer.kernel.columns),
                    stride: (layer.stride.rows, layer.stride.columns),
                    padding: (layer.padding.rows, layer.padding.columns))
                let weight = ids[resolved.path + ".weight"]
                let bias = layer.bias ? ids[resolved.path + ".bias"] : nil
                operation = .convolution(convolution, index: convolutions.count, weight: weight, bias: bias)
                convolutions.append((convolution, weight, bias))
            case .maxpool, .avgpool:
                operation = .pooling(
                    Pooling(
                        layer.op == .maxpool ? .max : .average, input: resolved.input,
                        kernel: (layer.kernel.rows, layer.kernel.columns),
                        stride: (layer.stride.rows, layer.stride.columns),
                        padding: (layer.padding.rows, layer.padding.columns)))
            case .flatten:
                operation = .flatten
            case .dropout:
                operation = .dropout(Dropout(probability: layer.probability))
            case .residual:
                var children = resolved.children.map { node($0) }
                let shortcut = resolved.shortcut.map { node($0) }
                // When the sum is made, the shortcut's output has been read for the last time.
                if let shortcut, shortcut.outputIsFree, children.count > 1 {
                    let reuses = children.count - 2
                    children[reuses].gradientSlot = shortcut.slots[.output]
                    all[children[reuses].index] = children[reuses]
                }
                operation = .residual(children: children, shortcut: shortcut)
            }
            let own = slots.take(Stack.Slot.self)
            let made = Node(
                operation: operation, norm: norm(resolved), activation: layer.activation, input: resolved.input,
                output: resolved.output, index: all.count, slots: own, gradientSlot: own[.gradient])
            all.append(made)
            return made
        }

        private func norm(_ resolved: ResolvedLayer) -> Norm {
            guard let kind = resolved.layer.norm, let name = resolved.normPath else { return .none }
            let channels = resolved.output.channels
            switch kind {
            case .batch:
                return .batch(
                    ActivationBatchNorm(channels: channels), weight: ids[name + ".weight"], bias: ids[name + ".bias"],
                    mean: ids[name + ".running_mean"], variance: ids[name + ".running_var"],
                    counter: ids[name + ".num_batches_tracked"])
            case .layer:
                return .layer(
                    ActivationLayerNorm(channels: channels), weight: ids[name + ".weight"], bias: ids[name + ".bias"])
            }
        }
    }
}

/// The indices of a network's parameters among its specs.
package struct ParameterIDs {
    private let indices: [String: Int]

    package init(_ specs: [ParameterSpec]) {
        indices = Dictionary(uniqueKeysWithValues: specs.enumerated().map { ($1.key, $0) })
    }

    package subscript(_ key: String) -> Int {
        guard let index = indices[key] else { preconditionFailure("the network has no parameter \(key)") }
        return index
    }
}
