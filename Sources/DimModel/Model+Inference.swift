import DimOperators
import DimRuntime

/// The forward passes as the C contract has them: arrays in PyTorch's order in and out.
extension Model {
    /// Images in flight in evaluation mode: bounds the memory of a call, whatever n is.
    private static let block = 32

    /// images (n,c,h,w) -> what is wanted.
    package func encode(_ images: UnsafePointer<Float>, count n: Int, _ outputs: EncodedOutputs) throws {
        if let encoded = outputs.encoded, outputs.conv == nil, outputs.fc == nil {
            return try encode(images, count: n, encoded: encoded, features: outputs.features)
        }
        try encode(anyPlan, images, count: n, outputs)
    }

    /// images (n,3,32,32) -> encoded (n,64), features (n,128,26,26) if wanted.
    package func encode(
        _ images: UnsafePointer<Float>, count n: Int, encoded: UnsafeMutablePointer<Float>,
        features: UnsafeMutablePointer<Float>?
    ) throws {
        if let plan {
            return try encode(plan, images, count: n, EncodedOutputs(encoded: encoded, features: features))
        }
        guard isTraining else {
            return try evaluateEncoder(images, count: n, encoded: encoded, features: features)
        }
        try whileChanging {
            let state = try snapshot(.encoder)
            // By direct convolutions: batch norm over a small or uniform batch divides rounding errors by a small deviation.
            // Theirs are the same at every position, so that the mean takes most of them away; Winograd's differ.
            let weights = try state.prepared(for: "exact") { try Encoder.Weights(state, direct: true) }
            try workspaces.withWorkspace { workspace in
                // Into memory of our own first: the caller's arrays change only where everything went well.
                let vectors = try workspace.floats("encoded", n * Encoder.encoded)
                let pass = try Encoder.train(
                    state, weights.source, images: images, count: n, encoded: vectors, workspace)
                let moved = try state.requireAllowed(state.moved(by: Encoder.statisticSteps(state, pass)))
                encoded.update(from: vectors, count: n * Encoder.encoded)
                Model.unblock(pass.features, n, into: features)
                replace([.encoder: moved])
            }
        }
    }

    /// `encode` in evaluation mode, whatever mode the model is in.
    func evaluateEncoder(
        _ images: UnsafePointer<Float>, count n: Int, encoded: UnsafeMutablePointer<Float>,
        features: UnsafeMutablePointer<Float>?
    ) throws {
        if let plan {
            return try evaluate(plan, images, count: n, EncodedOutputs(encoded: encoded, features: features))
        }
        let state = try snapshot(.encoder)
        let weights = try state.prepared { try Encoder.Weights(state) }
        try workspaces.withWorkspace { workspace in
            try inBlocks(n) { from, count in
                let blocked = try Encoder.evaluate(
                    state, weights, images: images + from * Encoder.image, count: count,
                    encoded: encoded + from * Encoder.encoded, workspace)
                Model.unblock(blocked, count, into: features.map { $0 + from * Encoder.featuresSize })
            }
        }
    }

    /// encoded (n,64), features (n,128,26,26) -> logits (n).
    package func scoreGlobal(
        encoded: UnsafePointer<Float>, features: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>
    ) throws {
        if let plan {
            return try score(plan, .globalD, encoded: encoded, maps: features, count: n, logits: logits)
        }
        let state = try snapshot(.globalD)
        let weights = try state.prepared { try GlobalDiscriminator.Weights(state) }
        try workspaces.withWorkspace { workspace in
            try inBlocks(n) { from, count in
                let blocked = try workspace.floats("features", count * Encoder.featuresSize)
                ThreadPool.shared.parallel(count) { image, _ in
                    BlockedLayout.block(
                        features + (from + image) * Encoder.featuresSize, channels: 128, pixels: 676,
                        into: blocked + image * Encoder.featuresSize)
                }
                try GlobalDiscriminator.forward(
                    state, weights.source, encoded: encoded + from * Encoder.encoded, features: blocked, count: count,
                    logits: logits + from, workspace)
            }
        }
    }

    /// encoded (n,64), features (n,128,26,26) -> logits (n,26,26).
    package func scoreLocal(
        encoded: UnsafePointer<Float>, features: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>
    ) throws {
        if let plan {
            return try score(plan, .localD, encoded: encoded, maps: features, count: n, logits: logits)
        }
        let state = try snapshot(.localD)
        let weights = try state.prepared { try LocalDiscriminator.Weights(state) }
        try workspaces.withWorkspace { workspace in
            try inBlocks(n) { from, count in
                try LocalDiscriminator.forward(
                    state, weights, encoded: encoded + from * Encoder.encoded,
                    features: features + from * Encoder.featuresSize, count: count,
                    logits: logits + from * LocalDiscriminator.cells, workspace)
            }
        }
    }

    /// encoded (n, encoded), features (n,c,h,w) -> logits (n,n,h,w): [i][j] image i's locations against vector j.
    package func scoreLocalPairs(
        encoded: UnsafePointer<Float>, features: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>
    ) throws {
        try scorePairs(anyPlan, .localD, encoded: encoded, maps: features, count: n, logits: logits)
    }

    /// encoded (n,64) -> probabilities (n).
    package func scorePrior(
        encoded: UnsafePointer<Float>, count n: Int, probabilities: UnsafeMutablePointer<Float>
    ) throws {
        if let plan { return try scorePrior(plan, encoded: encoded, count: n, probabilities: probabilities) }
        let state = try snapshot(.priorD)
        try workspaces.withWorkspace { workspace in
            try PriorDiscriminator.probabilities(state, encoded: encoded, count: n, into: probabilities, workspace)
        }
    }

    /// encoded (n,64) -> softmax probabilities (n,10).
    package func classify(
        encoded: UnsafePointer<Float>, count n: Int, probabilities: UnsafeMutablePointer<Float>
    ) throws {
        if let plan {
            guard n > 1 || !isTraining || !plan.classifierHasNorm else { throw Model.oneSample }
            return try classify(plan, encoded: encoded, count: n, probabilities: probabilities)
        }
        if isTraining {
            guard n > 1 else { throw Model.oneSample }
            try whileChanging {
                let state = try snapshot(.classifier)
                let pass = try Classifier.train(state, encoded: encoded, count: n)
                let moved = try state.requireAllowed(state.moved(by: Classifier.statisticSteps(state, pass)))
                for i in 0..<n * Classifier.classes { probabilities[i] = Float(pass.logits[i]) }
                replace([.classifier: moved])
            }
        } else {
            Classifier.logits(try snapshot(.classifier), encoded: encoded, count: n, into: probabilities)
        }
        for row in 0..<n { Losses.softmax(probabilities + row * Classifier.classes, Classifier.classes) }
    }

    // MARK: Helpers

    private static let oneSample = DimError(
        .invalidArgument,
        "n is 1; the classifier in training mode expects at least 2: batch norm has no "
            + "statistics of one sample (dim_model_set_training(model, false) uses the running ones)")

    private func inBlocks(_ n: Int, _ body: (_ from: Int, _ count: Int) throws -> Void) throws {
        for from in stride(from: 0, to: n, by: Model.block) { try body(from, min(Model.block, n - from)) }
    }

    private static func unblock(_ blocked: UnsafePointer<Float>, _ n: Int, into features: UnsafeMutablePointer<Float>?)
    {
        guard let features else { return }
        ThreadPool.shared.parallel(n) { image, _ in
            BlockedLayout.unblock(
                blocked + image * Encoder.featuresSize, channels: 128, pixels: 676,
                into: features + image * Encoder.featuresSize)
        }
    }
}
