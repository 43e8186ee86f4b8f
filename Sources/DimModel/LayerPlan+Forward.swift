import DimArchitecture
import DimOperators
import DimRuntime

/// The forward passes of any architecture: arrays in PyTorch's order in and out.
extension LayerPlan {
    // MARK: Encoder

    package func encode(
        _ state: NetworkState, _ images: UnsafePointer<Float>, count n: Int, _ outputs: EncodedOutputs,
        _ call: inout ForwardCall
    ) throws {
        let weights = try StackWeights.prepared(encoder, state, training: call.isTraining)
        // Statistics are of the whole batch; else blocks are equally large.
        let block = call.isTraining ? n : max(1, equalPiece(of: n, atMost: block))
        for from in stride(from: 0, to: n, by: block) {
            let count = min(block, n - from)
            let pass = StackPass(encoder, state, weights, call.arena, training: call.isTraining)
            let x = try load(images + from * resolved.image.size, count: count, call.arena)
            _ = try pass.forward(x, &call.random)
            if call.isTraining { call.moved = try pass.moved() }
            store(pass, into: outputs, from: from)
        }
    }

    /// images (n,c,h,w), normalised.
    package func load(_ images: UnsafePointer<Float>, count n: Int, _ arena: Arena) throws -> Activation {
        let x = try arena.activation(slots[.images], resolved.image, images: n)
        PlanarLayout.load(images, mean: mean, std: std, into: x, emptyBlocks: encoder.readsEmptyBlocks)
        return x
    }

    private func store(_ pass: StackPass, into outputs: EncodedOutputs, from: Int) {
        func store(_ node: Stack.Node?, _ target: UnsafeMutablePointer<Float>?) {
            guard let node, let target, let y = pass.outputs[node.index] else { return }
            PlanarLayout.store(y, into: target + from * node.output.size)
        }
        store(encoder.nodes.last, outputs.encoded)
        store(features, outputs.features)
        store(conv, outputs.conv)
        store(fc, outputs.fc)
    }

    // MARK: Score networks

    /// Vectors of one product, and images whose scores are held at once.
    private static let pairBlock = 32

    package func score(
        _ state: NetworkState, encoded: UnsafePointer<Float>, maps: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>, _ call: inout ForwardCall
    ) throws {
        let head = try self.head(state.network)
        let block = call.isTraining ? n : LayerPlan.pairBlock
        for from in stride(from: 0, to: n, by: block) {
            let count = min(block, n - from)
            let pass = try score(
                head, state, encoded + from * head.vector.size, vectors: count, maps + from * head.map.size,
                images: count, .own(count), &call)
            try pass.storeScores(into: logits + from * head.locations)
        }
    }

    package func scorePairs(
        _ state: NetworkState, encoded: UnsafePointer<Float>, maps: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>, _ call: inout ForwardCall
    ) throws {
        let head = try self.head(state.network)
        let locations = head.locations
        let each = call.isTraining ? n : LayerPlan.pairBlock
        for from in stride(from: 0, to: n, by: each) {
            let images = min(each, n - from)
            let pass = try score(
                head, state, encoded, vectors: n, maps + from * head.map.size, images: images, .all(n, images: images),
                &call)
            for block in pass.blocks() {
                let scores = try pass.scores(block)
                for i in 0..<images {
                    for j in block {
                        (logits + ((from + i) * n + j) * locations).update(
                            from: scores + ((j - block.lowerBound) * images + i) * locations, count: locations)
                    }
                }
            }
        }
    }

    /// A head's pass over vectors and maps as callers have them.
    package func score(
        _ head: PairHead, _ state: NetworkState, _ encoded: UnsafePointer<Float>, vectors: Int,
        _ maps: UnsafePointer<Float>, images: Int, _ pairs: Pairs, _ call: inout ForwardCall
    ) throws -> PairHeadPass {
        let map = try call.arena.activation(slots[.map], head.map, images: images)
        PlanarLayout.load(maps, mean: [], std: [], into: map)
        let vector = try call.arena.activation(slots[.vectors], head.vector, images: vectors)
        PlanarLayout.load(encoded, mean: [], std: [], into: vector)
        let pass = try PairHeadPass(
            head, state, try PairHeadWeights.prepared(head, state, training: call.isTraining), map: map,
            vector: vector, pairs, training: call.isTraining, call.arena, &call.random)
        if call.isTraining { call.moved = try state.moved(by: pass.statisticSteps()) }
        return pass
    }

    private func head(_ network: Network) throws -> PairHead {
        guard let head = network == .localD ? local : global else {
            throw DimError(.missingNetwork, "the model's architecture has no \(network.prefix)")
        }
        return head
    }

    // MARK: Networks over vectors

    private static let vectorBlock = 256

    package func scorePrior(
        _ state: NetworkState, encoded: UnsafePointer<Float>, count n: Int,
        probabilities: UnsafeMutablePointer<Float>, _ call: inout ForwardCall
    ) throws {
        try forward(prior, state, encoded, count: n, block: LayerPlan.vectorBlock, squash: squashes, &call) {
            out, from in
            for i in 0..<out.images {
                probabilities[from + i] = Float(Logistic.sigmoid(Double(out.pointer[i * 16])))
            }
        }
    }

    package func classify(
        _ state: NetworkState, encoded: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>,
        _ call: inout ForwardCall
    ) throws {
        let classes = classifier?.output.channels ?? 1
        let block = call.isTraining ? n : max(1, min(LayerPlan.vectorBlock, (1 << 22) / classes))
        try forward(classifier, state, encoded, count: n, block: block, squash: false, &call) { out, from in
            PlanarLayout.store(out, into: logits + from * classes)
        }
    }

    /// A stack over vectors, block after block.
    private func forward(
        _ stack: Stack?, _ state: NetworkState, _ vectors: UnsafePointer<Float>, count n: Int, block: Int,
        squash: Bool, _ call: inout ForwardCall, _ store: (Activation, _ from: Int) -> Void
    ) throws {
        guard let stack else {
            throw DimError(.missingNetwork, "the model's architecture has no \(state.network.prefix)")
        }
        let weights = try StackWeights.prepared(stack, state)
        for from in stride(from: 0, to: n, by: block) {
            let x = try call.arena.activation(slots[.vectors], stack.input, images: min(block, n - from))
            PlanarLayout.load(vectors + from * stack.input.size, mean: [], std: [], into: x)
            if squash { Elementwise.sigmoid(x) }
            let pass = StackPass(stack, state, weights, call.arena, training: call.isTraining)
            let out = try pass.forward(x, &call.random)
            if call.isTraining { call.moved = try pass.moved() }
            store(out, from)
        }
    }
}

extension LayerPlan {
    /// Whether the prior reads s(y), the sigmoid of the vectors.
    package var squashes: Bool { architecture.prior?.squash == .sigmoid }
}
