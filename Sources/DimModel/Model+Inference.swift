import DimArchitecture
import DimOperators
import DimRuntime

/// The forward passes of the C API: arrays in PyTorch's order in and out, in the model's mode.
extension Model {
    /// images (n,c,h,w) -> the requested outputs.
    package func encode(_ images: UnsafePointer<Float>, count n: Int, _ outputs: EncodedOutputs) throws {
        try run(.encoder, training: isTraining) { state, call in
            try plan.encode(state, images, count: n, outputs, &call)
        }
    }

    /// `encode` in evaluation mode, whatever mode the model is in.
    package func evaluateEncoder(_ images: UnsafePointer<Float>, count n: Int, _ outputs: EncodedOutputs) throws {
        try run(.encoder, training: false) { state, call in
            try plan.encode(state, images, count: n, outputs, &call)
        }
    }

    /// encoded (n, encoded), the map that the head reads (n,c,h,w) -> logits (n).
    package func scoreGlobal(
        encoded: UnsafePointer<Float>, features: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>
    ) throws {
        try run(.globalD, training: isTraining) { state, call in
            try plan.score(state, encoded: encoded, maps: features, count: n, logits: logits, &call)
        }
    }

    /// encoded (n, encoded), features (n,c,h,w) -> logits (n,h,w).
    package func scoreLocal(
        encoded: UnsafePointer<Float>, features: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>
    ) throws {
        try run(.localD, training: isTraining) { state, call in
            try plan.score(state, encoded: encoded, maps: features, count: n, logits: logits, &call)
        }
    }

    /// encoded (n, encoded), features (n,c,h,w) -> logits (n,n,h,w): [i][j] image i's locations against vector j.
    package func scoreLocalPairs(
        encoded: UnsafePointer<Float>, features: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>
    ) throws {
        try run(.localD, training: isTraining) { state, call in
            try plan.scorePairs(state, encoded: encoded, maps: features, count: n, logits: logits, &call)
        }
    }

    /// encoded (n, encoded) -> probabilities (n).
    package func scorePrior(
        encoded: UnsafePointer<Float>, count n: Int, probabilities: UnsafeMutablePointer<Float>
    ) throws {
        try run(.priorD, training: isTraining) { state, call in
            try plan.scorePrior(state, encoded: encoded, count: n, probabilities: probabilities, &call)
        }
    }

    /// encoded (n, encoded) -> softmax probabilities (n, classes).
    package func classify(
        encoded: UnsafePointer<Float>, count n: Int, probabilities: UnsafeMutablePointer<Float>
    ) throws {
        let training = isTraining
        if training, n == 1, architecture.resolved.classifier?.contains(where: { $0.layer.norm == .batch }) ?? false {
            throw DimError(
                .invalidArgument,
                "n is 1; the classifier in training mode expects at least 2: batch norm has no statistics of one sample "
                    + "(dim_model_set_training(model, false) uses the running ones)")
        }
        try run(.classifier, training: training) { state, call in
            try plan.classify(state, encoded: encoded, count: n, logits: probabilities, &call)
        }
        for row in 0..<n { Logistic.softmax(probabilities + row * sizes.classes, sizes.classes) }
    }

    /// Evaluation mode, whatever mode the model is in: encoded (n, encoded) -> logits (n, classes).
    package func evaluateClassifier(
        encoded: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>
    ) throws {
        try run(.classifier, training: false) { state, call in
            try plan.classify(state, encoded: encoded, count: n, logits: logits, &call)
        }
    }

    /// One call of a network. In training mode it may move running statistics and the random stream, and no other change of the
    /// model runs meanwhile; a network that is the same in both modes is never waited for.
    private func run(
        _ network: Network, training: Bool, _ body: (NetworkState, inout ForwardCall) throws -> Void
    ) throws {
        guard training, plan.dependsOnMode(network) else {
            let state = try snapshot(network)
            return try arenas.withArena { arena in
                var call = ForwardCall(arena)
                try body(state, &call)
            }
        }
        try whileChanging {
            let state = try snapshot(network)
            try arenas.withArena { arena in
                var call = ForwardCall(arena, isTraining: true, random: random)
                try body(state, &call)
                random = call.random
                replace([network: call.moved])
            }
        }
    }
}
