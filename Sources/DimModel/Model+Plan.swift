import DimArchitecture
import DimOperators
import DimRuntime

/// Where `encode` writes; what is nil is not wanted.
package struct EncodedOutputs {
    package var encoded: UnsafeMutablePointer<Float>?
    package var features: UnsafeMutablePointer<Float>?
    package var conv: UnsafeMutablePointer<Float>?
    package var fc: UnsafeMutablePointer<Float>?

    package init(
        encoded: UnsafeMutablePointer<Float>? = nil, features: UnsafeMutablePointer<Float>? = nil,
        conv: UnsafeMutablePointer<Float>? = nil, fc: UnsafeMutablePointer<Float>? = nil
    ) {
        self.encoded = encoded
        self.features = features
        self.conv = conv
        self.fc = fc
    }
}

/// The forward passes of any architecture: arrays in PyTorch's order in and out.
extension Model {
    /// images (n,c,h,w) -> what is wanted.
    func encode(_ plan: ModelPlan, _ images: UnsafePointer<Float>, count n: Int, _ outputs: EncodedOutputs) throws {
        guard isTraining else { return try evaluate(plan, images, count: n, outputs) }
        try changing(.encoder) { state, random in
            let weights = try StackWeights.prepared(plan.encoder, state)
            return try arenas.withArena { arena in
                let pass = StackPass(plan.encoder, state, weights, arena, training: true)
                _ = try pass.forward(try plan.load(images, count: n, arena), &random)
                let moved = try pass.moved()
                plan.store(pass, into: outputs, from: 0)
                return moved
            }
        }
    }

    /// `encode` in evaluation mode, whatever mode the model is in.
    func evaluate(_ plan: ModelPlan, _ images: UnsafePointer<Float>, count n: Int, _ outputs: EncodedOutputs) throws {
        let state = try snapshot(.encoder)
        let weights = try StackWeights.prepared(plan.encoder, state)
        var random = MersenneTwister(seed: 0)
        try arenas.withArena { arena in
            for from in stride(from: 0, to: n, by: plan.block) {
                let count = min(plan.block, n - from)
                let pass = StackPass(plan.encoder, state, weights, arena, training: false)
                _ = try pass.forward(
                    try plan.load(images + from * plan.resolved.image.size, count: count, arena), &random)
                plan.store(pass, into: outputs, from: from)
            }
        }
    }

    /// Scores of each vector and its own map: encoded (n, encoded), maps (n,c,h,w) -> logits (n, locations).
    func score(
        _ plan: ModelPlan, _ network: Network, encoded: UnsafePointer<Float>, maps: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>
    ) throws {
        let head = try self.head(plan, network)
        if isTraining {
            return try changing(network) { state, random in
                try arenas.withArena { arena in
                    let pass = try plan.score(
                        head, state, encoded, vectors: n, maps, images: n, .own(n), training: true, arena, &random)
                    let moved = try state.moved(by: pass.statisticSteps())
                    try pass.storeScores(into: logits)
                    return moved
                }
            }
        }
        let state = try snapshot(network)
        var random = MersenneTwister(seed: 0)
        try arenas.withArena { arena in
            for from in stride(from: 0, to: n, by: Model.pairBlock) {
                let count = min(Model.pairBlock, n - from)
                let pass = try plan.score(
                    head, state, encoded + from * head.vector.size, vectors: count, maps + from * head.map.size,
                    images: count, .own(count), training: false, arena, &random)
                try pass.storeScores(into: logits + from * head.locations)
            }
        }
    }

    /// Vectors of one product, and images whose scores are held at once.
    private static let pairBlock = 32

    /// Scores of all pairs: logits (n, n, locations), [i][j] image i's locations against vector j.
    func scorePairs(
        _ plan: ModelPlan, _ network: Network, encoded: UnsafePointer<Float>, maps: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>
    ) throws {
        let head = try self.head(plan, network)
        let locations = head.locations
        func store(_ pass: PairHeadPass, from: Int, images: Int) throws {
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
        if isTraining {
            return try changing(network) { state, random in
                try arenas.withArena { arena in
                    let pass = try plan.score(
                        head, state, encoded, vectors: n, maps, images: n, .all(n), training: true, arena, &random)
                    let moved = try state.moved(by: pass.statisticSteps())
                    try store(pass, from: 0, images: n)
                    return moved
                }
            }
        }
        let state = try snapshot(network)
        var random = MersenneTwister(seed: 0)
        try arenas.withArena { arena in
            for from in stride(from: 0, to: n, by: Model.pairBlock) {
                let images = min(Model.pairBlock, n - from)
                let pass = try plan.score(
                    head, state, encoded, vectors: n, maps + from * head.map.size, images: images,
                    .all(n, images: images), training: false, arena, &random)
                try store(pass, from: from, images: images)
            }
        }
    }

    /// encoded (n, encoded) -> sigmoid probabilities (n).
    func scorePrior(
        _ plan: ModelPlan, encoded: UnsafePointer<Float>, count n: Int, probabilities: UnsafeMutablePointer<Float>
    ) throws {
        let state = try snapshot(.priorD)
        guard let prior = plan.prior else { throw missing(.priorD) }
        let weights = try StackWeights.prepared(prior, state)
        var random = MersenneTwister(seed: 0)
        let size = plan.resolved.encodedSize
        try arenas.withArena { arena in
            for from in stride(from: 0, to: n, by: Model.vectorBlock) {
                let count = min(Model.vectorBlock, n - from)
                let x = try arena.activation(plan.vectorSlot, prior.input, images: count)
                PlanarLayout.load(encoded + from * size, mean: [], std: [], into: x)
                if plan.squashes { Elementwise.sigmoid(x) }
                let pass = StackPass(prior, state, weights, arena, training: false)
                let out = try pass.forward(x, &random)
                for i in 0..<count {
                    probabilities[from + i] = Float(Losses.sigmoid(Double(out.pointer[i * 16])))
                }
            }
        }
    }

    private static let vectorBlock = 256

    /// encoded (n, encoded) -> softmax probabilities (n, classes).
    func classify(
        _ plan: ModelPlan, encoded: UnsafePointer<Float>, count n: Int, probabilities: UnsafeMutablePointer<Float>
    ) throws {
        guard let classifier = plan.classifier else { throw missing(.classifier) }
        let classes = classifier.output.channels
        if isTraining {
            try changing(.classifier) { state, random in
                let weights = try StackWeights.prepared(classifier, state)
                return try arenas.withArena { arena in
                    let x = try arena.activation(plan.vectorSlot, classifier.input, images: n)
                    PlanarLayout.load(encoded, mean: [], std: [], into: x)
                    let pass = StackPass(classifier, state, weights, arena, training: true)
                    let out = try pass.forward(x, &random)
                    let moved = try pass.moved()
                    PlanarLayout.store(out, into: probabilities)
                    return moved
                }
            }
        } else {
            try classifierLogits(plan, encoded: encoded, count: n, logits: probabilities)
        }
        for row in 0..<n { Losses.softmax(probabilities + row * classes, classes) }
    }

    /// Evaluation mode, whatever mode the model is in: encoded (n, encoded) -> logits (n, classes).
    func classifierLogits(
        _ plan: ModelPlan, encoded: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>
    ) throws {
        guard let classifier = plan.classifier else { throw missing(.classifier) }
        let state = try snapshot(.classifier)
        let weights = try StackWeights.prepared(classifier, state)
        var random = MersenneTwister(seed: 0)
        let block = max(1, min(Model.vectorBlock, (1 << 22) / classifier.output.channels))
        try arenas.withArena { arena in
            for from in stride(from: 0, to: n, by: block) {
                let count = min(block, n - from)
                let x = try arena.activation(plan.vectorSlot, classifier.input, images: count)
                PlanarLayout.load(encoded + from * classifier.input.size, mean: [], std: [], into: x)
                let pass = StackPass(classifier, state, weights, arena, training: false)
                PlanarLayout.store(
                    try pass.forward(x, &random), into: logits + from * classifier.output.channels)
            }
        }
    }

    // MARK: Helpers

    /// A forward pass in training mode: it moves running statistics and, with dropout, the random stream.
    private func changing(
        _ network: Network,
        _ body: (NetworkState, inout MersenneTwister) throws -> [(index: Int, value: ParameterValue)]
    ) throws {
        try whileChanging {
            var random = self.random
            let moved = try body(try snapshot(network), &random)
            self.random = random
            replace([network: moved])
        }
    }

    private func head(_ plan: ModelPlan, _ network: Network) throws -> PairHead {
        guard let head = plan.head(network) else { throw missing(network) }
        return head
    }

    private func missing(_ network: Network) -> DimError {
        DimError(.missingNetwork, "the model's architecture has no \(network.prefix)")
    }
}

extension ModelPlan {
    var classifierHasNorm: Bool { classifier?.all.contains { $0.norm.isBatch } ?? false }
    var squashes: Bool { architecture.prior?.squash == .sigmoid }

    /// images (n,c,h,w), normalised.
    func load(_ images: UnsafePointer<Float>, count n: Int, _ arena: Arena) throws -> Activation {
        let x = try arena.activation(imageSlot, resolved.image, images: n)
        PlanarLayout.load(images, mean: mean, std: std, into: x)
        return x
    }

    func store(_ pass: StackPass, into outputs: EncodedOutputs, from: Int) {
        func store(_ node: Stack.Node?, _ target: UnsafeMutablePointer<Float>?) {
            guard let node, let target, let y = pass.outputs[node.index] else { return }
            PlanarLayout.store(y, into: target + from * node.output.size)
        }
        store(encoder.nodes.last, outputs.encoded)
        store(features, outputs.features)
        store(conv, outputs.conv)
        store(fc, outputs.fc)
    }

    func score(
        _ head: PairHead, _ state: NetworkState, _ encoded: UnsafePointer<Float>, vectors: Int,
        _ maps: UnsafePointer<Float>, images: Int, _ pairs: Pairs, training: Bool, _ arena: Arena,
        _ random: inout MersenneTwister
    ) throws -> PairHeadPass {
        let map = try arena.activation(mapSlot, head.map, images: images)
        PlanarLayout.load(maps, mean: [], std: [], into: map)
        let vector = try arena.activation(vectorSlot, head.vector, images: vectors)
        PlanarLayout.load(encoded, mean: [], std: [], into: vector)
        return try PairHeadPass(
            head, state, try PairHeadWeights.prepared(head, state), map: map, vector: vector, pairs,
            training: training, arena, &random)
    }
}
