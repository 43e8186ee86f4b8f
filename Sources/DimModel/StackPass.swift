import DimArchitecture
import DimOperators
import DimRuntime

/// One run of a stack over a batch: the forward pass keeps in the arena what the backward pass reads, or in evaluation mode,
/// which has none, what the layers to come read.
///
/// In evaluation mode batch norm is folded into the product before it; in training mode the batch's statistics are used and
/// the running ones that follow from them are in `moved`.
package final class StackPass {
    package let stack: Stack
    package let state: NetworkState
    package let weights: StackWeights
    package let arena: Arena
    package let isTraining: Bool
    /// By node index.
    package private(set) var inputs: [Activation?]
    package private(set) var outputs: [Activation?]
    /// What a node's norm reads, forward and backward.
    private var beforeNorm: [Activation?]
    private var statistics: [ActivationBatchNorm.Statistics?]
    private var masks: [Activation?]

    package init(_ stack: Stack, _ state: NetworkState, _ weights: StackWeights, _ arena: Arena, training: Bool) {
        self.stack = stack
        self.state = state
        self.weights = weights
        self.arena = arena
        isTraining = training
        inputs = Array(repeating: nil, count: stack.all.count)
        outputs = inputs
        beforeNorm = inputs
        masks = inputs
        statistics = Array(repeating: nil, count: stack.all.count)
    }

    private func activation(_ node: Stack.Node, _ slot: Stack.Slot, _ shape: MapShape, _ n: Int) throws -> Activation {
        let own = node.slots[slot]
        return try arena.activation(
            isTraining ? own : stack.evaluationMemory.slots[own] ?? own, shape, images: n)
    }

    private func floats(_ node: Stack.Node, _ slot: Stack.Slot, _ count: Int) throws -> UnsafeMutablePointer<Float> {
        try arena.floats(node.slots[slot], count)
    }

    private func scratch(_ images: Int) throws -> WorkerScratch {
        let count = stack.convolutions.reduce(0) { max($0, $1.operator.scratch(images: images)) }
        return WorkerScratch(try arena.floats(stack.slots[.scratch], count), count: count)
    }

    // MARK: Forward

    /// The stack's output. `random` serves dropout in training mode.
    package func forward(_ x: Activation, _ random: inout MersenneTwister) throws -> Activation {
        try run(stack.nodes, x, &random)
    }

    private func run(_ nodes: [Stack.Node], _ x: Activation, _ random: inout MersenneTwister) throws -> Activation {
        var x = x
        for node in nodes { x = try run(node, x, &random) }
        return x
    }

    private func run(_ node: Stack.Node, _ x: Activation, _ random: inout MersenneTwister) throws -> Activation {
        inputs[node.index] = x
        let y: Activation
        if case .convolution(let convolution, _, _, _) = node.operation, node.isOneProduct(isTraining) {
            y = try product(convolution, node, x, relu: node.activation == .relu)
            if node.activation == .sigmoid { Elementwise.sigmoid(y) }
        } else {
            let z = try operate(node, x, &random)
            beforeNorm[node.index] = z
            y = try normalised(node, z)
        }
        outputs[node.index] = y
        return y
    }

    /// A layer whose norm, if it has one, is folded into its product. `adding` is added to it, before the ReLU.
    private func product(
        _ convolution: PatchConvolution, _ node: Stack.Node, _ x: Activation, adding: Activation? = nil, relu: Bool
    ) throws -> Activation {
        guard case .convolution(_, let index, _, let bias) = node.operation else { preconditionFailure("no product") }
        let y = try activation(node, .output, node.output, x.images)
        if case .batch(_, let weight, let shift, let mean, let variance, _) = node.norm {
            let count = Activation.blocks(node.output.channels) * 16
            let scale = try floats(node, .normStatistics, 2 * count)
            ActivationBatchNorm.fold(
                channels: node.output.channels, bias: bias.map { state.pointer($0) }, weight: state.pointer(weight),
                normBias: state.pointer(shift), runningMean: state.pointer(mean),
                runningVariance: state.pointer(variance), scale: scale, shift: scale + count)
            convolution.forward(
                x, packed: weights.packed(index), weights.direction, scale: scale, bias: scale + count, adding: adding,
                relu: relu, into: y, scratch: try scratch(x.images))
        } else {
            convolution.forward(
                x, packed: weights.packed(index), weights.direction, precision: weights.precision,
                bias: weights.bias(index), adding: adding, relu: relu, into: y, scratch: try scratch(x.images))
        }
        return y
    }

    /// What the operator alone gives; a residual block's sum after its ReLU, where no norm is between them.
    private func operate(
        _ node: Stack.Node, _ x: Activation, _ random: inout MersenneTwister
    ) throws -> Activation {
        let n = x.images
        switch node.operation {
        case .convolution(let convolution, let index, _, _):
            let z = try activation(node, .beforeNorm, node.output, n)
            convolution.forward(
                x, packed: weights.packed(index), weights.direction, precision: weights.precision,
                bias: weights.bias(index), into: z, scratch: try scratch(n))
            return z
        case .pooling(let pooling):
            let z = try activation(node, .beforeNorm, node.output, n)
            pooling.forward(x, into: z, indices: isTraining ? try indices(node, pooling, n) : nil)
            return z
        case .flatten:
            let z = try activation(node, .beforeNorm, node.output, n)
            Flatten.forward(x, into: z)
            return z
        case .dropout(let dropout):
            guard isTraining else { return x }
            let z = try activation(node, .beforeNorm, node.output, n)
            let mask = try activation(node, .mask, node.output, n)
            dropout.mask(into: mask, &random)
            masks[node.index] = mask
            Elementwise.copy(x, into: z)
            Elementwise.multiply(mask, into: z)
            return z
        case .residual(let children, let shortcut):
            let relu = node.activatesSum && node.activation == .relu
            guard isTraining else { return try evaluated(node, children, shortcut, x, relu: relu, &random) }
            let inner = try run(children, x, &random)
            let other = try shortcut.map { try run($0, x, &random) } ?? x
            return try sum(node, children, inner, other, relu: relu)
        }
    }

    /// A residual block in evaluation mode: the shortcut comes before the last layer, which adds it to its product where that can be.
    private func evaluated(
        _ node: Stack.Node, _ children: [Stack.Node], _ shortcut: Stack.Node?, _ x: Activation, relu: Bool,
        _ random: inout MersenneTwister
    ) throws -> Activation {
        let last = children[children.count - 1]
        let before = try run(Array(children.dropLast()), x, &random)
        let other = try shortcut.map { try run($0, x, &random) } ?? x
        if case .convolution(let convolution, _, _, _) = last.operation, last.isOneProduct(false), last.outputIsFree,
            convolution.canAdd(weights.direction, weights.precision)
        {
            inputs[last.index] = before
            let y = try product(convolution, last, before, adding: other, relu: relu)
            outputs[last.index] = y
            return y
        }
        return try sum(node, children, try run(last, before, &random), other, relu: relu)
    }

    private func sum(
        _ node: Stack.Node, _ children: [Stack.Node], _ inner: Activation, _ other: Activation, relu: Bool
    ) throws -> Activation {
        if children.last?.outputIsFree ?? false {
            Elementwise.add(other, into: inner, relu: relu)
            return inner
        }
        let z = try activation(node, .beforeNorm, node.output, inner.images)
        Elementwise.sum(inner, other, into: z, relu: relu)
        return z
    }

    private func normalised(_ node: Stack.Node, _ z: Activation) throws -> Activation {
        let relu = node.activation == .relu
        let y: Activation
        switch node.norm {
        case .none:
            guard node.activation != nil else { return z }
            if case .dropout = node.operation {  // z may be its input
                y = try activation(node, .output, node.output, z.images)
                Elementwise.copy(z, into: y)
            } else {
                y = z
            }
            if relu, !node.activatesSum { Elementwise.relu(y) }
        case .batch(let norm, let weight, let shift, let mean, let variance, _):
            y = try activation(node, .output, node.output, z.images)
            if isTraining {
                guard z.rows > 1 else {
                    throw DimError(
                        .invalidArgument,
                        "batch norm in training mode expects more than one value a channel; the batch has one image of "
                            + "one pixel there")
                }
                let found = try norm.statistics(z, weight: state.pointer(weight), bias: state.pointer(shift))
                statistics[node.index] = found
                norm.apply(found, z, relu: relu, into: y)
            } else {
                let count = Activation.blocks(node.output.channels) * 16
                let scale = try floats(node, .normStatistics, 2 * count)
                ActivationBatchNorm.fold(
                    channels: node.output.channels, bias: nil, weight: state.pointer(weight),
                    normBias: state.pointer(shift), runningMean: state.pointer(mean),
                    runningVariance: state.pointer(variance), scale: scale, shift: scale + count)
                norm.affine(z, scale: scale, shift: scale + count, relu: relu, into: y)
            }
        case .layer(let norm, let weight, let shift):
            y = try activation(node, .output, node.output, z.images)
            norm.forward(
                z, weight: state.pointer(weight), bias: state.pointer(shift), into: y,
                statistics: try floats(node, .normStatistics, 2 * z.rows))
            if relu { Elementwise.relu(y) }
        }
        if node.activation == .sigmoid { Elementwise.sigmoid(y) }
        return y
    }

    private func indices(_ node: Stack.Node, _ pooling: Pooling, _ n: Int) throws -> UnsafeMutablePointer<Int32> {
        let count = pooling.indexCount(images: n)
        return UnsafeMutableRawPointer(try floats(node, .indices, count)).assumingMemoryBound(to: Int32.self)
    }

    // MARK: Backward

    /// A node's gradient where something beside the next layer adds to it (a head that reads a map in the middle): zero at
    /// first. Asked for before `backward`.
    package func gradient(of node: Stack.Node) throws -> Activation {
        let gradient = try arena.activation(node.gradientSlot, node.output, images: outputs[node.index]!.images)
        if !accumulates.contains(node.index) {
            accumulates.insert(node.index)
            Elementwise.clear(gradient)
        }
        return gradient
    }

    private var accumulates: Set<Int> = []

    /// From the gradient of the output, which is used up, to those of the parameters, added to `gradients`, and of the input.
    /// `output` may be nil where `gradient(of:)` has the last node's.
    package func backward(
        _ output: Activation?, into input: Activation?, accumulate: Bool = false, _ gradients: any GradientTarget
    ) throws {
        try backward(stack.nodes, output, into: input, accumulate: accumulate, gradients)
    }

    /// From the gradients of nodes in the middle alone, `gradient(of:)`: nothing came back to the stack's end.
    package func backwardFromNodes(_ gradients: any GradientTarget) throws {
        guard let last = stack.nodes.lastIndex(where: { accumulates.contains($0.index) }) else { return }
        try backward(Array(stack.nodes[...last]), nil, into: nil, accumulate: false, gradients)
    }

    private func backward(
        _ nodes: [Stack.Node], _ output: Activation?, into input: Activation?, accumulate: Bool,
        _ gradients: any GradientTarget
    ) throws {
        guard let last = nodes.last else { return }
        var dy: Activation
        if accumulates.contains(last.index) {
            dy = try gradient(of: last)
            if let output { Elementwise.add(output, into: dy) }
        } else {
            dy = output!
        }
        for (position, node) in nodes.enumerated().reversed() {
            if position == 0 {
                try backward(node, dy, into: input, accumulate: accumulate, gradients)
            } else {
                let before = nodes[position - 1]
                let adds = accumulates.contains(before.index)
                let dx = try arena.activation(before.gradientSlot, before.output, images: dy.images)
                try backward(node, dy, into: dx, accumulate: adds, gradients)
                dy = dx
            }
        }
    }

    private func backward(
        _ node: Stack.Node, _ dy: Activation, into dx: Activation?, accumulate: Bool, _ gradients: any GradientTarget
    ) throws {
        let y = outputs[node.index]!
        try backwardNorm(node, y, dy, gradients)
        let x = inputs[node.index]!
        let n = x.images
        switch node.operation {
        case .convolution(let convolution, let index, let weight, let bias):
            let scratch = try scratch(n)
            convolution.weightGradient(
                x, dy, precision: weights.precision, into: gradients.pointer(stack.network, weight),
                bias: bias.map { gradients.pointer(stack.network, $0) }, scratch: scratch)
            if let dx {
                convolution.dataGradient(
                    dy, packed: weights.packedForGradient(index, state), precision: weights.precision, into: dx,
                    accumulate: accumulate, scratch: scratch)
            }
        case .pooling(let pooling):
            try through(dx, node, accumulate) {
                pooling.backward(dy, indices: try self.indices(node, pooling, n), into: $0)
            }
        case .flatten:
            try through(dx, node, accumulate) { Flatten.backward(dy, into: $0) }
        case .dropout:
            try through(dx, node, accumulate) {
                Elementwise.copy(dy, into: $0)
                if let mask = self.masks[node.index] { Elementwise.multiply(mask, into: $0) }
            }
        case .residual(let children, let shortcut):
            // The children's norms and activations work on the gradient in place.
            var kept = dy
            if !(children.last?.keepsOutputGradient ?? false) {
                kept = try activation(node, .gradientCopy, node.output, n)
                Elementwise.copy(dy, into: kept)
            }
            try backward(children, dy, into: dx, accumulate: accumulate, gradients)
            if let shortcut {
                try backward(shortcut, kept, into: dx, accumulate: true, gradients)
            } else if let dx {
                Elementwise.add(kept, into: dx)
            }
        }
    }

    /// The gradient of y, in place, becomes that of the operator's output.
    private func backwardNorm(
        _ node: Stack.Node, _ y: Activation, _ dy: Activation, _ gradients: any GradientTarget
    ) throws {
        if node.activation == .sigmoid { Elementwise.sigmoidGradient(y, dy) }
        let relu = node.activation == .relu
        switch node.norm {
        case .none:
            if relu { Elementwise.reluGradient(y, dy) }
        case .batch(let norm, let weight, let shift, _, _, _):
            try norm.backward(
                statistics[node.index]!, beforeNorm[node.index]!, relu: relu, weight: state.pointer(weight),
                gradient: dy, weightGradient: gradients.pointer(stack.network, weight),
                biasGradient: gradients.pointer(stack.network, shift))
        case .layer(let norm, let weight, let shift):
            if relu { Elementwise.reluGradient(y, dy) }
            let z = beforeNorm[node.index]!
            try norm.backward(
                z, statistics: try floats(node, .normStatistics, 2 * z.rows), weight: state.pointer(weight),
                gradient: dy,
                weightGradient: gradients.pointer(stack.network, weight),
                biasGradient: gradients.pointer(stack.network, shift))
        }
    }

    /// For operators that overwrite their input's gradient.
    private func through(
        _ dx: Activation?, _ node: Stack.Node, _ accumulate: Bool, _ body: (Activation) throws -> Void
    ) throws {
        guard let dx else { return }
        guard accumulate else { return try body(dx) }
        let own = try activation(node, .gradientCopy, node.input, dx.images)
        try body(own)
        Elementwise.add(own, into: dx)
    }

    // MARK: Running statistics

    /// What the batch adds to the running statistics.
    package func statisticSteps() -> StatisticSteps {
        var steps: StatisticSteps = []
        for node in stack.all {
            guard case .batch(let norm, _, _, let mean, let variance, _) = node.norm,
                let found = statistics[node.index]
            else { continue }
            let step = norm.steps(found)
            steps.append((mean, step.mean))
            steps.append((variance, step.variance))
        }
        return steps
    }

    /// The running statistics after the batch, as replacements of the state's values.
    package func moved() throws -> [(index: Int, value: ParameterValue)] { try state.moved(by: statisticSteps()) }
}
